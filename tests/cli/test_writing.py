"""Where commands write: nothing is mixed, lost or left behind, and equal inputs give equal files."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

import archc
from tests.cli.conftest import ROOT, Run

SPEC = ("mnv3_small", "width_mult=0.35", "num_classes=10", "input.size=64")
ARCHC = [sys.executable, "-m", "archc"]


def entries(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def build(run: Run, target: Path, *options: str) -> str:
    result = run("build", *SPEC, "-o", str(target), *options)
    assert result.code == 0, result.err
    return result.out


@pytest.mark.parametrize(("first", "second"), [("torch", "keras"), ("keras", "torch")])
def test_another_backends_weights_do_not_stay(run: Run, tmp_path: Path, first: str, second: str) -> None:
    models = {"torch": "model.safetensors", "keras": "model.keras"}
    build(run, tmp_path, "--backend", first)
    refused = run("build", *SPEC, "-o", str(tmp_path), "--backend", second)
    assert (refused.code, f"{models[first]} exist already" in refused.err) == (2, True)
    out = build(run, tmp_path, "--backend", second, "--force")
    assert entries(tmp_path) == sorted(["spec.yaml", "report.json", models[second]])
    assert f"removed {tmp_path / models[first]}: the weights of the network that was there before" in out


def test_weights_without_their_spec_are_in_the_way(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_text("mine")
    refused = run("build", *SPEC, "-o", str(tmp_path))
    assert (refused.code, "model.keras exists already" in refused.err) == (2, True)
    assert entries(tmp_path) == ["model.keras"]


def test_of_two_builds_at_once_one_wins(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = archc.save_weights
    inner: list[int] = []

    def while_another_builds(model: Any, path: Path) -> Any:
        if not inner:
            inner.append(-1)
            inner[0] = run("build", *SPEC, "num_classes=20", "-o", str(tmp_path / "out")).code
        return save(model, path)

    monkeypatch.setattr(archc, "save_weights", while_another_builds)
    outer = run("build", *SPEC, "-o", str(tmp_path / "out"))
    assert (inner, outer.code) == ([0], 2)
    assert "exists already; `--force` overwrites. Nothing was written." in outer.err
    assert entries(tmp_path / "out") == ["model.safetensors", "report.json", "spec.yaml"]
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        assert file.metadata()["archc_spec"] == (tmp_path / "out" / "spec.yaml").read_text()
    assert "num_classes: 20" in (tmp_path / "out" / "spec.yaml").read_text()


def test_a_build_does_not_overwrite_its_own_spec(run: Run, tmp_path: Path) -> None:
    build(run, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    spec = tmp_path / "spec.yaml"
    child, link = tmp_path / "child.yaml", tmp_path / "link.yaml"
    child.write_text("defaults: [spec, _self_]\nnum_classes: 7\n")
    link.symlink_to(spec)
    for source in (spec, child, link, tmp_path / ".." / tmp_path.name / "spec.yaml"):
        refused = run("build", str(source), "width_mult=0.5", "-o", str(tmp_path), "--force")
        assert (refused.code, "is what this command reads" in refused.err) == (2, True), source
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_a_checkpoint_is_not_overwritten_by_its_own_conversion(run: Run, tmp_path: Path) -> None:
    build(run, tmp_path)
    weights = tmp_path / "model.safetensors"
    before = weights.read_bytes()
    refused = run("weights", str(tmp_path / "spec.yaml"), str(weights), "-o", str(weights), "--force")
    assert (refused.code, "is what this command reads" in refused.err) == (2, True)
    assert weights.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_equal_builds_give_equal_bytes(tmp_path: Path, backend: str) -> None:
    """In processes of their own: hashes, addresses of objects and the clock differ."""

    def contents(name: str) -> dict[str, bytes]:
        target = tmp_path / name
        command = [*ARCHC, "build", "mobilevit_xxs", "dropout=0.2", "--backend", backend, "--seed", "3"]
        subprocess.run([*command, "-o", str(target)], cwd=ROOT, check=True, capture_output=True)
        return {path.name: path.read_bytes() for path in target.iterdir()}

    first = contents("a")
    assert len(first) == 3
    time.sleep(2)  # a ZIP archive counts time in steps of two seconds
    assert contents("b") == first


def test_weights_are_equal_in_one_process_too(tmp_path: Path) -> None:
    from archc.backends import keras

    for name in ("a", "b"):
        archc.save_weights(archc.build("mnv3_small", seed=1), tmp_path / f"{name}.safetensors")
        keras.save(archc.build("mnv3_small", seed=1, backend="keras"), tmp_path / f"{name}.keras")
    for suffix in ("safetensors", "keras"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_an_empty_path_is_no_directory(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (["build", *SPEC], ["schema"], ["weights", "mnv3_small", "a.pth"]):
        result = run(*command, "-o", "")
        assert (result.code, "the path is empty" in result.err) == (2, True)


def test_a_link_that_points_nowhere_is_not_replaced(run: Run, tmp_path: Path) -> None:
    for name in ("schema.json", "spec.yaml"):
        (tmp_path / name).symlink_to("nowhere")
    schema = run("schema", "-o", str(tmp_path / "schema.json"))
    assert (schema.code, "schema.json exists already" in schema.err) == (2, True)
    built = run("build", *SPEC, "-o", str(tmp_path))
    assert (built.code, "spec.yaml exists already" in built.err) == (2, True)
    assert all(path.is_symlink() for path in tmp_path.iterdir())
    assert run("schema", "-o", str(tmp_path / "schema.json"), "--force").code == 0
    assert json.loads((tmp_path / "schema.json").read_text())


def test_a_device_is_not_replaced(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    result = run("schema", "-o", str(tmp_path / "pipe"), "--force")
    assert (result.code, f"{tmp_path / 'pipe'}: Not a regular file" in result.err) == (2, True)
    assert (tmp_path / "pipe").is_fifo()


def limit() -> None:
    """No file may be longer than a full disk would let it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["schema", "build", "build keras", "weights", "convert"])
def test_a_full_disk_is_an_error(run: Run, tmp_path: Path, command: str) -> None:
    built, output = tmp_path / "built", tmp_path / "output"
    build(run, built)
    output.mkdir()
    arguments, named = {
        "schema": (["schema", "-o", "s.json"], "s.json"),
        "build": (["build", *SPEC, "-o", "net"], "net/model.safetensors"),
        "build keras": (["build", *SPEC, "-o", "net", "--backend", "keras"], "net/model.keras"),
        "weights": (["weights", str(built / "spec.yaml"), str(built), "-o", "w.safetensors"], "w.safetensors"),
        "convert": (["convert", str(built), "--to", "keras", "-o", "k.keras"], "k.keras"),
    }[command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*ARCHC, *arguments],
        cwd=output,
        env=environment,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"Error: {named}: "), done.stderr
    assert "File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert entries(output) == []


def namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not namespaces(), reason="mounting needs user namespaces")
def test_a_mount_point_can_be_built_into(tmp_path: Path) -> None:
    """Its parent is another file system; a small one is full before the weights are written."""
    target = tmp_path / "volume"
    target.mkdir()

    def built_into(size: str) -> subprocess.CompletedProcess[str]:
        build = " ".join([*ARCHC, "build", *SPEC, "-o", "$TARGET"])
        script = f"mount -t tmpfs -o size={size} none $TARGET && {build}; code=$?; ls -A $TARGET; exit $code"
        environment = {**os.environ, "TARGET": str(target)}
        command = ["unshare", "-rm", "sh", "-c", script]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    done = built_into("20m")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == ["model.safetensors", "report.json", "spec.yaml"]
    full = built_into("64k")
    assert (full.returncode, full.stderr.count("\n")) == (2, 1)
    assert full.stderr.startswith(f"Error: {target}/model.safetensors: ")
    assert "No space left on device" in full.stderr
    assert full.stdout.splitlines()[-1].startswith("verified"), "nothing is left in it"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_no_staged_files(tmp_path: Path, number: signal.Signals) -> None:
    started, target = tmp_path / "started", tmp_path / "out"
    script = (
        "import pathlib, signal, sys, time, archc\n"
        f"if {number != signal.SIGINT}: signal.signal({int(number)}, signal.SIG_DFL)\n"  # tests may run under nohup
        "def save(model, path):\n"
        "    path.write_text('half')\n"
        "    pathlib.Path(sys.argv[1]).touch()\n"
        "    time.sleep(60)\n"
        "archc.save_weights = save\n"
        "from archc.cli import main\n"
        f"main(['build', *{SPEC!r}, '-o', sys.argv[2]])\n"
    )
    command = [sys.executable, "-c", script, str(started), str(target)]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for(started.exists)
    assert [path.name[:7] for path in target.iterdir()] == [".archc-"]
    running.send_signal(number)
    _, err = running.communicate(timeout=30)
    assert (running.returncode, err.strip()) == (128 + number, "")
    assert entries(tmp_path) == ["started"]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()
