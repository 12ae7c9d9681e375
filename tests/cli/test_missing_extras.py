"""A library that is not installed ends in what to install, never in a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
from PIL import Image

import archc
from tests.cli.conftest import ROOT

pytestmark = pytest.mark.slow  # every case is a process of its own

BLOCKER = """
import os, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["BLOCKED"].split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `archc build -o` writes for torch and for Keras, an image, and a Python that lacks modules."""
    folder = tmp_path_factory.mktemp("trained")
    from archc.backends import keras

    spec = archc.load("mnv3_small", ["width_mult=0.35", "num_classes=10", "input.size=64"])
    for backend in ("torch", "keras"):
        (folder / backend).mkdir()
        (folder / backend / "spec.yaml").write_text(spec.to_yaml(full=True))
    model = archc.build(spec, seed=0)
    archc.save_weights(model, folder / "torch" / "model.safetensors")
    keras.save(archc.build(spec, seed=0, backend="keras"), folder / "keras" / "model.keras")
    Image.new("RGB", (80, 80)).save(folder / "image.png")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(BLOCKER)
    return folder


def lacking(trained: Path, blocked: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(trained / "site"), str(ROOT)])
    variables = {**os.environ, "PYTHONPATH": path, "BLOCKED": blocked, **environment}
    command = [sys.executable, "-m", "archc", *arguments]
    return subprocess.run(command, cwd=trained, env=variables, capture_output=True, text=True, check=False)


PREDICT, KERAS = ("predict", "torch", "image.png"), ("predict", "keras/model.keras", "image.png")
WEIGHTS = ("weights", "keras/spec.yaml", "keras/model.keras")
BUILD = ("build", "mnv3_small", "-o", "out")
CONVERT = ("convert", "torch", "--to", "keras", "-o", "out.keras")


@pytest.mark.parametrize(
    ("blocked", "command", "extra"),
    [
        ("torch", KERAS, "predict"),
        ("torch", PREDICT, "predict"),
        ("safetensors", PREDICT, "predict"),
        ("numpy", PREDICT, "predict"),
        ("PIL", PREDICT, "predict"),
        ("keras", KERAS, "keras"),
        ("keras", WEIGHTS, "keras"),
        ("numpy", BUILD, "torch"),
        ("safetensors", BUILD, "torch"),
        ("torch", BUILD, "torch"),
        ("keras", CONVERT, "keras"),
        ("keras", (*BUILD, "--backend", "keras"), "keras"),
        ("fvcore", ("report", "mnv3_small", "--counter", "fvcore"), "fvcore"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_the_extra_is_named(trained: Path, blocked: str, command: tuple[str, ...], extra: str) -> None:
    done = lacking(trained, blocked, *command)
    package = {"PIL": "Pillow"}.get(blocked, blocked)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"Error: this needs {package}, which is not installed: pip install 'archc[{extra}]'"
    )
    assert not (trained / "out").exists()


@pytest.mark.parametrize("command", [KERAS, WEIGHTS, (*BUILD, "--backend", "keras")], ids=lambda command: command[0])
def test_a_backend_that_keras_does_not_have(trained: Path, command: tuple[str, ...]) -> None:
    done = lacking(trained, "", *command, KERAS_BACKEND="nonsense")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "Error: Keras was told to compute with nonsense, but it has no such backend: set KERAS_BACKEND to torch or jax",
    )


def test_nothing_is_missing_by_itself(trained: Path) -> None:
    assert lacking(trained, "", *KERAS).returncode == 0
    assert safetensors.torch.load_file(trained / "torch" / "model.safetensors")


def test_the_library_that_keras_was_told_to_compute_with_is_named(trained: Path) -> None:
    """A `.keras` checkpoint is read by Keras, which may not need torch."""
    done = lacking(trained, "torch", *WEIGHTS, KERAS_BACKEND="torch")
    assert done.returncode == 2
    assert "Keras was told to compute with torch, but torch is not installed" in done.stderr.splitlines()[-1]
