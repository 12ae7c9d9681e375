"""Checkpoints that are damaged, that are no checkpoints, and that are meant to do harm."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import archc
from archc.weights.error import WeightsWarning
from tests.weights.test_files import SPEC, build, refused, state


def test_a_weight_without_dimensions_is_reported() -> None:
    wrong = {**state(), "head.1.linear.weight": torch.tensor(1.0)}
    diagnostic = refused(wrong, "does not fit")
    assert "`linear.weight` is [5, 16] here, [] in the checkpoint" in " ".join(diagnostic.notes)


def test_a_dict_that_holds_itself() -> None:
    cyclic: dict[str, Any] = {}
    cyclic["model"] = cyclic
    refused(cyclic, "values that are no tensors")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_nested_tensor() -> None:
    nested = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
    assert refused({**state(), "x": nested}, "wrong kind").notes == ("`x` is nested float32",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in its file system")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.safetensors")
    refused(tmp_path / "weights.safetensors", "no regular file")
    refused("/dev/zero", "no regular file")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_weights_that_are_no_numbers_are_warned_of(value: float, kind: torch.dtype) -> None:
    wrong = {name: tensor.to(kind) if tensor.is_floating_point() else tensor for name, tensor in state().items()}
    wrong["head.1.linear.weight"].view(-1)[3] = value
    with pytest.warns(WeightsWarning, match=r"`head\.1\.linear\.weight` holds nan or inf: 1 of its 80 numbers"):
        report = archc.load_weights(build(), wrong)
    assert [(warning.id, warning.severity) for warning in report.warnings] == [("not-finite", "warning")]


@pytest.mark.filterwarnings("error")
def test_large_numbers_are_numbers() -> None:
    large = state()
    large["head.1.linear.weight"].fill_(3e38)  # the sum of which is infinite
    assert archc.load_weights(build(), large).warnings == ()


def test_an_unknown_pickle_is_not_said_to_run_code(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(state(), path)
    with zipfile.ZipFile(path) as source:
        content = {name: source.read(name) for name in source.namelist()}
    pickled = next(name for name in content if name.endswith("data.pkl"))
    for damage, said in (
        (content[pickled].replace(b"_rebuild_tensor_v2", b"_rebuild\x07tensor_v2"), "damaged"),
        (content[pickled][:20] + b"\x95" + content[pickled][20:], "damaged"),
    ):
        with zipfile.ZipFile(path, "w") as target:
            for name, value in content.items():
                target.writestr(name, damage if name == pickled else value)
        diagnostic = refused(path, said)
        assert "could run code" not in diagnostic.message


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keras") / "tiny.keras"
    archc.build(SPEC, backend="keras", seed=0).save(path)
    return path


def rewritten(source: Path, target: Path, change: Callable[[h5py.File], None], **options: Any) -> Path:
    """A `.keras` file with other arrays."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **options) as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(".h5"):
                memory = io.BytesIO(content)
                with h5py.File(memory, "a") as file:
                    change(file)
                content = memory.getvalue()
            new.writestr(name, content)
    return target


def first_array(file: h5py.File) -> str:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) and item.ndim > 1 else None)
    return found[0]


def replaced(file: h5py.File, **options: Any) -> None:
    name = first_array(file)
    shape, value = file[name].shape, file[name][()]
    del file[name]
    file.create_dataset(name, **{"shape": shape, "data": value, **options})


@pytest.mark.parametrize("kind", ["int8", "bool", "complex64"])
def test_a_keras_file_of_other_numbers(saved: Path, tmp_path: Path, kind: str) -> None:
    def change(file: h5py.File) -> None:
        replaced(file, data=file[first_array(file)][()].astype(kind))

    diagnostic = refused(rewritten(saved, tmp_path / "a.keras", change), "wrong kind")
    assert diagnostic.id == "weights-dtype"
    assert diagnostic.notes[0].endswith(f" is {kind}")


def test_a_keras_file_that_inflates(saved: Path, tmp_path: Path) -> None:
    def compressed(file: h5py.File) -> None:
        name = first_array(file)
        del file[name]
        file.create_dataset(name, shape=(1000, 1000, 100), chunks=(1000, 1000, 1), compression="gzip", dtype="f4")

    def absent(file: h5py.File) -> None:
        name = first_array(file)
        del file[name]
        file.create_dataset(name, shape=(10**6, 10**4), chunks=(1000, 1000), dtype="f4")  # none of it is written

    for change in (compressed, absent):
        assert (
            "are not in the file as they are"
            in refused(rewritten(saved, tmp_path / "a.keras", change), "Keras can load").message
        )

    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(tmp_path / "b.keras", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content + b" " * 50_000_000 if name == "config.json" else content)
    assert "`config.json` inflates to 50," in refused(tmp_path / "b.keras", "Keras can load").message


def test_a_keras_file_that_points_elsewhere(saved: Path, tmp_path: Path) -> None:
    def linked(file: h5py.File) -> None:
        name = first_array(file)
        del file[name]
        file[name] = h5py.ExternalLink("/etc/passwd", "x")

    refused(rewritten(saved, tmp_path / "a.keras", linked), "is a link")


def test_a_keras_file_of_another_network_than_it_states(saved: Path, tmp_path: Path) -> None:
    other = archc.build({**SPEC, "num_classes": 7}, backend="keras", seed=0)
    other.save(tmp_path / "other.keras")
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(tmp_path / "other.keras") as its, \
            zipfile.ZipFile(tmp_path / "a.keras", "w") as new:  # fmt: skip
        for name in old.namelist():
            new.writestr(name, (its if name.endswith("h5") else old).read(name))
    refused(tmp_path / "a.keras", "Keras can load")


def test_a_keras_file_may_be_one_of_the_networks_layers(saved: Path, tmp_path: Path) -> None:
    """What Keras has loaded and saved again states no network, but its layers have the same names."""
    keras.saving.load_model(saved).save(tmp_path / "again.keras")
    model = build(device="meta")
    report = archc.load_weights(model, tmp_path / "again.keras")
    assert (report.source, report.params) == ("archc", archc.report(SPEC).params)
    foreign = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    foreign.save(tmp_path / "foreign.keras")
    refused(tmp_path / "foreign.keras", "states no other")


def test_a_keras_file_that_does_not_fit_is_reported_like_any_other(saved: Path) -> None:
    model = archc.build({**SPEC, "num_classes": 7}, seed=0)
    with pytest.raises(archc.WeightsError, match=r"does not fit `tiny`: row `head\.1` differs") as caught:
        archc.load_weights(model, saved)
    assert "num_classes=5" in caught.value.diagnostics[0].help


PROGRAM = """
import sys
import numpy as np
import archc
from archc.weights import read_state, save_state
graph = archc.lower(archc.load("mobilenet_v2"))
state, report = read_state(sys.argv[1], graph)
print(report.source, report.tensors, report.params, state["stem.0.conv.weight"].dtype, report.casts)
print(len(save_state(state, graph, sys.argv[2], "torchvision")))
print([name for name in ("torch", "keras") if name in sys.modules])
"""


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_files_are_read_and_written_without_torch(tmp_path: Path, kind: torch.dtype) -> None:
    import torchvision.models as tv

    peer = {n: v.to(kind) if v.is_floating_point() else v for n, v in tv.mobilenet_v2().state_dict().items()}
    save_file(peer, tmp_path / "a.safetensors")
    paths = (str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"))
    ran = subprocess.run([sys.executable, "-c", PROGRAM, *paths], capture_output=True, text=True, check=False)
    casts = () if kind is torch.float32 else ("bfloat16 to float32",)
    assert ran.stdout.splitlines() == [f"torchvision 314 3504872 float32 {casts}", "314", "[]"], ran.stderr
    from safetensors.torch import load_file

    back = load_file(paths[1])
    assert all(torch.equal(back[name], value.to(back[name].dtype)) for name, value in peer.items())


def test_loading_into_keras_builds_no_module(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "a.safetensors")
    program = (
        "import sys, archc, json\n"
        f"model = archc.build({SPEC!r}, backend='keras', seed=0)\n"
        f"print(archc.load_weights(model, {str(tmp_path / 'a.safetensors')!r}).tensors)\n"
        "print([name for name in sys.modules if name.startswith('archc.backends.torch')])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines() == [str(len(state())), "[]"], ran.stderr


def test_numpy_arrays_are_a_state_dict() -> None:
    model = build(device="meta")
    arrays = {name: value.numpy() for name, value in state().items()}
    archc.load_weights(model, arrays)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state().items())
    arrays["head.1.linear.weight"] = arrays["head.1.linear.weight"].astype(np.int8)
    refused(arrays, "wrong kind")
