"""Files in every form that weights come in, and in every form that they should not."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import archc
from archc.weights.carrying.read import read

SPEC = {
    "name": "tiny",
    "num_classes": 5,
    "stages": {
        "stem": [{"block": "conv", "kernel": 3, "out": 8, "stride": 2}],
        "c1": [{"block": "inverted_residual", "expand": "2x", "out": 16, "se": True}],
        "head": [{"block": "pool"}, {"block": "linear", "out": "${num_classes}"}],
    },
}


def build(**options: Any) -> nn.Module:
    return archc.build(SPEC, **options)


def state() -> dict[str, Tensor]:
    return build(seed=1).state_dict()


def same(model: nn.Module, expected: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors", ".pth.tar", ""])
def test_a_file_is_known_by_its_content(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state(), path)
    else:
        torch.save(state(), path)
    model = build(seed=2)
    report = archc.load_weights(model, path)
    assert same(model, state())
    assert (report.source, report.detected) == ("archc", True)


def test_the_old_format_of_torch_is_read_too(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    model = build(seed=2)
    archc.load_weights(model, tmp_path / "old.pth")
    assert same(model, state())


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state().items()}


@pytest.mark.parametrize(
    ("wrapped", "wrapper", "prefix"),
    [
        ({"state_dict": state(), "epoch": 3, "arch": "tiny"}, "state_dict", ""),
        ({"model": state(), "optimizer": {"lr": 0.1}}, "model", ""),
        ({"model": prefixed("module."), "epoch": 3}, "model", "module."),
        ({"model": {k: v * 0 for k, v in state().items()}, "model_ema": state()}, "model_ema", ""),
        ({"model_ema": {**prefixed("module."), "n_averaged": torch.tensor(3)}}, "model_ema", "module."),
        ({"ema": {"state_dict": state()}}, "ema.state_dict", ""),
        (prefixed("module._orig_mod."), "", "module._orig_mod."),
    ],
    ids=["state_dict", "model", "module.", "ema before model", "averaged", "nested", "compiled in parallel"],
)
def test_what_training_scripts_put_around_weights_is_taken_off_and_told(
    tmp_path: Path, wrapped: dict[str, Any], wrapper: str, prefix: str
) -> None:
    torch.save(wrapped, tmp_path / "a.pth")
    model = build(seed=2)
    report = archc.load_weights(model, tmp_path / "a.pth")
    assert same(model, state())
    assert (report.wrapper, report.prefix) == (wrapper, prefix)
    assert all(part in str(report) for part in (wrapper, prefix))


class Evil:
    """A pickle that would create a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def refused(path: Any, match: str, model: nn.Module | None = None) -> archc.Diagnostic:
    target = model or build(seed=2)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(archc.WeightsError, match=match) as caught:
        archc.load_weights(target, path)
    assert same(target, before)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_code_is_refused_and_never_run(tmp_path: Path, zipped: bool) -> None:
    trap = tmp_path / "trap"
    torch.save({**state(), "x": Evil(trap)}, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    diagnostic = refused(tmp_path / "evil.pth", "could run code")
    assert diagnostic.id == "weights-file"
    assert "mkdir" in diagnostic.notes[0]
    assert not trap.exists()


def test_a_plain_pickle_is_never_run(tmp_path: Path) -> None:
    trap, path = tmp_path / "trap", tmp_path / "evil.bin"
    path.write_bytes(pickle.dumps(Evil(trap)))
    assert refused(path, "refused|damaged").id == "weights-file"
    assert not trap.exists()


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(build(), tmp_path / "module.pth")
    refused(tmp_path / "module.pth", "could run code")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(3, 3)), tmp_path / "program.pt")
    refused(tmp_path / "program.pt", "TorchScript program")


def test_a_spec_in_a_checkpoint_cannot_import_anything(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    (tmp_path / "harmful.py").write_text(f"import os; os.mkdir({str(trap)!r})")
    text = "name: x\nstages: {c1: [{block: 'harmful:Block'}]}"
    save_file(state(), tmp_path / "a.safetensors", metadata={"archc_version": "0", "archc_spec": text})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        archc.load_weights(build(), tmp_path / "a.safetensors")
    assert not trap.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0, 1, 9, 100, 2000, -1])
def test_truncated_files(tmp_path: Path, suffix: str, kept: int) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state(), path)
    else:
        torch.save(state(), path)
    path.write_bytes(path.read_bytes()[:kept])
    assert refused(path, "empty|damaged|no checkpoint").id == "weights-file"


def test_a_corrupt_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(state(), path)
    broken = bytearray(path.read_bytes())
    at = broken.find(b"data.pkl") + 200
    broken[at : at + 60] = os.urandom(60)
    path.write_bytes(broken)
    refused(path, "damaged|could run code")


def test_a_zip_that_is_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(tmp_path / "a.pth", "damaged")


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (b"\x89HDF\r\n\x1a\n and more", "HDF5"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"hello, this is text", "no checkpoint"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, content: bytes, looks: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    refused(tmp_path / "a.pth", looks)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "none.pth", "No such file")
    refused(tmp_path, "No such file")


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ({}, "holds no tensors"),
        ({"epoch": 3}, "values that are no tensors"),
        ({"state_dict": {}}, "values that are no tensors"),
        ([torch.zeros(3)], "no state dict but a `list`"),
        (torch.zeros(3), "no state dict but a `Tensor`"),
        ({"a": torch.zeros(3), "b": "text"}, "values that are no tensors"),
    ],
)
def test_what_is_no_state_dict(tmp_path: Path, value: Any, match: str) -> None:
    torch.save(value, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", match)


def test_names_of_nobody(tmp_path: Path) -> None:
    diagnostic = refused({"foo.weight": torch.zeros(3)}, "no library that archc knows")
    assert diagnostic.id == "weights-source"
    assert "torchvision" in diagnostic.help


def test_a_source_that_is_not_theirs() -> None:
    for source in ("torchvision", "nobody"):
        with pytest.raises(archc.WeightsError) as caught:
            archc.load_weights(build(), {"foo.weight": torch.zeros(3)}, source=source)
        assert caught.value.diagnostics[0].id == "weights-source"


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_half_precision_is_cast_exactly(kind: torch.dtype, device: str) -> None:
    halved = {name: value.to(kind) if value.is_floating_point() else value for name, value in state().items()}
    model = build(device=device)
    report = archc.load_weights(model, halved)
    assert report.casts == (f"{str(kind).removeprefix('torch.')} to float32",)
    for name, value in model.state_dict().items():
        assert value.dtype == state()[name].dtype
        assert torch.equal(value, halved[name].to(value.dtype))


def test_weights_are_cast_into_the_modules_own_type() -> None:
    model = build(dtype=torch.float64)
    archc.load_weights(model, state())
    assert {value.dtype for value in model.parameters()} == {torch.float64}
    assert all(torch.equal(value.to(state()[name].dtype), state()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.to(torch.int8),
        lambda value: value.to(torch.bool),
        lambda value: value.to(torch.complex64),
        lambda value: value.to_sparse(),
        lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
        lambda value: value.to("meta"),
    ],
    ids=["int8", "bool", "complex", "sparse", "quantised", "meta"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_numbers_of_the_wrong_kind(change: Any) -> None:
    wrong = state()
    wrong["head.1.linear.weight"] = change(wrong["head.1.linear.weight"])
    diagnostic = refused(wrong, "wrong kind")
    assert diagnostic.id == "weights-dtype"
    assert "head.1.linear.weight" in diagnostic.notes[0]


def test_counters_may_be_absent_but_not_of_a_wrong_kind() -> None:
    without = {name: value for name, value in state().items() if not name.endswith("num_batches_tracked")}
    model = build()
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            value.fill_(7)
    report = archc.load_weights(model, without)
    assert len(report.uncounted) == len(state()) - len(without) > 0
    assert same(model, state())
    refused({**state(), "stem.0.norm.num_batches_tracked": torch.tensor(1.5)}, "wrong kind")


def test_only_what_archc_built_has_names() -> None:
    with pytest.raises(archc.WeightsError, match="was not built by archc"):
        archc.load_weights(nn.Linear(3, 3), {"weight": torch.zeros(3, 3)})


def test_a_module_that_was_changed_by_hand() -> None:
    model = build()
    model.get_submodule("head.1").linear = nn.Linear(16, 3)
    refused(state(), "was changed after it was built", model)
    report = archc.load_weights(model, state(), partial="head")
    assert report.left == ("head.1.linear.weight", "head.1.linear.bias")
    model.head = nn.Linear(16, 3)
    archc.load_weights(model, state(), partial="head")


def test_wrapped_modules_are_unwrapped() -> None:
    for wrap in (nn.DataParallel, torch.compile):
        model = build(seed=2)
        archc.load_weights(wrap(model), state())
        assert same(model, state())


def test_the_error_pickles() -> None:
    with pytest.raises(archc.WeightsError) as caught:
        archc.load_weights(build(), {})
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.diagnostics == caught.value.diagnostics


def test_a_state_dict_is_not_copied_into_but_from() -> None:
    given = state()
    model = build(device="meta")
    archc.load_weights(model, given)
    with torch.no_grad():
        next(model.parameters()).zero_()
    assert not torch.equal(next(iter(given.values())), next(iter(model.state_dict().values())))
    assert read(given).shown == "the state dict"
