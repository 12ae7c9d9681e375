"""The built wheel works alone: bundled specs are found by name, without the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel's contents, as pip would lay them out."""
    pytest.importorskip("hatchling", reason="the test extra has it")
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target / "packages")
    return target / "packages"


def run(installed: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_bundled_specs_come_with_it(installed: Path, tmp_path: Path) -> None:
    program = (
        "import archc, archc.document.library as library\n"
        "print(library.bundled_directory())\n"
        "print(len(archc.specs()), archc.report('mobilevit_s').params)"
    )
    done = run(installed, "-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    directory, counts = done.stdout.splitlines()
    assert Path(directory) == installed / "archc" / "specs"
    assert counts.split()[0] == str(len(list((ROOT / "specs").glob("*.yaml"))))
    assert {p.name for p in (installed / "archc" / "specs").iterdir()} == {p.name for p in (ROOT / "specs").iterdir()}


def test_a_spec_elsewhere_inherits_a_bundled_one(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("defaults: [mnv3_small, _self_]\nname: mine\nwidth_mult: 0.5\n")
    done = run(installed, "-m", "archc", "report", "mine.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"name": "mine"' in done.stdout


def test_nothing_but_the_package_is_in_it(installed: Path) -> None:
    top = {path.name for path in installed.iterdir()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"archc"}
    assert (installed / "archc" / "py.typed").is_file()
