"""The README tells the truth: its commands run and print what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = re.findall(r"```console\n((?:.*\n)*?)```", README)
"""Blocks of commands, each with what it prints; those of one block follow each other."""
SPECS = re.findall(r"```yaml\n((?:.*\n)*?)```", README)
PYTHON = re.findall(r"```python\n((?:.*\n)*?)```", README)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files that the README's first Python block makes."""
    directory = tmp_path_factory.mktemp("tour")
    subprocess.run([sys.executable, "-c", PYTHON[0]], cwd=directory, check=True)
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("block", CONSOLE, ids=[block.partition("\n")[0] for block in CONSOLE])
def test_the_console_blocks(block: str, directory: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for command, shown in re.findall(r"^\$ archc (.+)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
        arguments = [sys.executable, "-m", "archc", *shlex.split(command)]
        done = subprocess.run(arguments, cwd=directory, env=environment, capture_output=True, text=True, check=False)
        assert _rounded((done.stdout + done.stderr).strip()) == _rounded(shown.strip())


def _rounded(text: str) -> str:
    """Differences in the last bits are each processor's own."""
    return re.sub(r"\d\.\de-0[67]", "a rounding error", text)


def test_there_are_console_blocks() -> None:
    assert len(CONSOLE) >= 8


def test_the_python_blocks_run(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory)
    _, program, session = PYTHON
    namespace: dict[str, object] = {}
    exec(program, namespace)
    source, _, expected = session.partition("forward))\n")
    assert "getsource" in source
    import inspect

    forward = namespace["model"].c4[1].forward  # type: ignore[attr-defined]
    assert inspect.getsource(forward) == expected


def test_ci_runs_the_test_command() -> None:
    commands = re.findall(r"```sh\n(.+)\n```", README)
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_segmentation_network_is_the_bundled_one(tmp_path: Path) -> None:
    import archc

    (tmp_path / "mine.yaml").write_text(SPECS[0], encoding="utf-8")
    mine, bundled = archc.report(archc.load(tmp_path / "mine.yaml")), archc.report("lraspp_mnv3_large")
    assert (mine.params, mine.macs) == (bundled.params, bundled.macs)


def test_the_language_page_is_valid(tmp_path: Path) -> None:
    import archc

    _, language = SPECS
    (tmp_path / "mine.yaml").write_text(language, encoding="utf-8")
    report = archc.report(archc.load(tmp_path / "mine.yaml"))
    assert [part.name for part in report.outputs] == ["low", "high"]
    assert report.graph.input.shape[1:] == (256, 256)


def test_every_key_of_the_language_is_on_the_page() -> None:
    from archc.language.schema import Spec

    keys = {info.alias or name for name, info in Spec.model_fields.items()} - {"name", "num_classes", "width_mult"}
    missing = {key for key in keys if not re.search(rf"`[^`]*\b{key}\b[^`]*`", README)}
    assert missing == set()


def test_every_block_is_on_the_page() -> None:
    from archc.blocks import BUILTIN

    assert {name for name in BUILTIN if f"`{name}`" not in README} == set()
