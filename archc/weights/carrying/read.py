"""Checkpoints from files and state dicts. Nothing in a file is ever run."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from archc import transforms
from archc.ir.graph import TRANSFORMS, Graph
from archc.weights.carrying import keras_file, pickles, safetensors
from archc.weights.checkpoint import Checkpoint, Tensor, tensor
from archc.weights.error import WeightsError, refuse
from archc.weights.files import MODEL_FILES

StateDict = Mapping[str, Any]

_WRAPPERS = ("state_dict_ema", "model_ema", "ema", "ema_state_dict", "state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts keep the weights; averaged ones first, as they are what is published."""
_DEPTH = 5
"""How many such keys may lie inside each other."""
_PREFIXES = ("module.", "_orig_mod.", "model.")
"""Put before every name by DataParallel, torch.compile and Lightning."""
_BOOKKEEPING = frozenset({"n_averaged"})
"""What `torch.optim.swa_utils.AveragedModel` counts; no weight."""

_AGAIN = "truncated, perhaps: fetch or copy it again"


def read(source: str | PathLike[str] | StateDict, graph: Graph | None = None) -> Checkpoint:
    """Read a file, or take a state dict of torch tensors or NumPy arrays as it is.

    `graph` is the network that it is read for. What a `.keras` file that does not state its network holds is known by
    the names of this network's layers.

    Raises:
        WeightsError: no checkpoint, or one that cannot be trusted.
        MissingExtraError: the library that reads such files is not installed.
    """
    if isinstance(source, Mapping):
        return _unwrapped(source, "", {})
    path = found_file(source)
    try:
        return _read(path, graph)
    except OSError as error:
        raise refuse("weights-file", f"`{path}` cannot be read: {error.strerror or error}") from None


def found_file(source: str | PathLike[str]) -> Path:
    """The file itself, or the one in a directory that `archc build -o` wrote."""
    path = Path(fspath(source))
    if not path.is_dir():
        return path
    kinds = [path / name for name in MODEL_FILES.values()]
    return next((file for file in kinds if file.is_file()), kinds[0])


def metadata(path: Path) -> Mapping[str, str]:
    """What a file says about itself and its network; empty for what `torch.save` wrote, which says nothing.

    Raises:
        WeightsError: it cannot be read, or is no checkpoint.
    """
    try:
        if path.suffix == keras_file.SUFFIX:
            return keras_file.metadata(path)
        with _regular(path).open("rb") as file:
            head = file.read(9)
        return safetensors.metadata(path, _AGAIN) if head[8:9] == b"{" else {}
    except OSError as error:
        raise refuse("weights-file", f"`{path}` cannot be read: {error.strerror or error}") from None


def rewritten(graph: Graph, path: Path) -> Graph:
    """A graph, rewritten by the transforms that a file of weights states.

    Raises:
        WeightsError: the file cannot be read.
        SpecError: it states a transform that does not exist.
    """
    names = [name for name in metadata(path).get(TRANSFORMS, "").split(",") if name]
    return transforms.apply(graph, None, names)[0] if names else graph


def _regular(path: Path) -> Path:
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe may never end, and a device may never begin
        raise refuse("weights-file", f"`{path}` is no regular file", help="save the checkpoint into a file first")
    return path


def _read(path: Path, graph: Graph | None) -> Checkpoint:
    if _regular(path).suffix == keras_file.SUFFIX:
        return keras_file.read(path, graph)
    with path.open("rb") as file:
        head = file.read(9)
    if not head:
        raise refuse("weights-file", f"`{path}` is empty", help="the download or the copy was not finished")
    if head[8:9] == b"{":
        tensors, about = safetensors.read(path, _AGAIN)
        return _unwrapped(tensors, path.name, about)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return _unwrapped(pickles.read(path, _AGAIN), path.name, {})
    looks = _looks_like(head)
    raise refuse(
        "weights-file",
        f"`{path}` is no checkpoint{f': it looks like {looks}' if looks else ''}",
        help="archc reads safetensors files, `.keras` files, and what `torch.save` wrote",
    )


def _looks_like(head: bytes) -> str:
    known = {
        b"\x89HDF": "HDF5 (Keras)", b"\x08": "ONNX", b"version h": "a Git LFS pointer, not the file itself",
        b"<!DOCTYPE"[:9]: "a web page", b"<html": "a web page", b"\x1f\x8b": "gzip", b"\x93NUM": "NumPy",
    }  # fmt: skip
    return next((what for magic, what in known.items() if head.startswith(magic)), "")


def _unwrapped(values: Any, file: str, metadata: Mapping[str, str]) -> Checkpoint:
    shown = f"`{file}`" if file else "what was passed"
    taken: list[str] = []
    while isinstance(values, Mapping) and not any(_is_tensor(value) for value in values.values()):
        inner = next((key for key in _WRAPPERS if _holds_tensors(values.get(key))), None)
        if inner is None:
            break
        taken.append(inner)
        values = values[inner]
    if not isinstance(values, Mapping):
        raise refuse("weights-file", f"{shown} is no state dict but a `{type(values).__name__}`")
    if not values:
        raise refuse("weights-file", f"{shown} holds no tensors")
    tensors = _tensors(values, shown)
    prefix = ""
    while tensors and (found := next((p for p in _PREFIXES if all(name.startswith(p) for name in tensors)), "")):
        tensors = {name.removeprefix(found): value for name, value in tensors.items()}
        prefix += found
    return Checkpoint(tensors, file, metadata, ".".join(taken), prefix)


def _tensors(values: Mapping[Any, Any], shown: str) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    others: list[str] = []
    for name, value in values.items():
        found = value if isinstance(value, Tensor) else tensor(value)
        if found is None:
            others.append(f"`{name}`: {type(value).__name__}")
        elif name not in _BOOKKEEPING:
            tensors[str(name)] = found
    if others:
        raise refuse(
            "weights-file",
            f"{shown} holds values that are no tensors",
            notes=tuple(others[:5]),
            help=f"weights are looked for at the top, and under {', '.join(f'`{key}`' for key in _WRAPPERS)}",
        )
    nested = [name for name, value in tensors.items() if value.kind.startswith("nested ")]
    if nested:
        raise wrong_kind([f"`{name}` is {tensors[name].kind}" for name in nested])
    return tensors


def wrong_kind(found: list[str]) -> WeightsError:
    """The error for tensors that are no weights, to be raised by the caller."""
    return refuse(
        "weights-dtype",
        "the checkpoint holds numbers of the wrong kind",
        notes=tuple(found[:5]),
        help="weights are floating-point numbers in dense tensors; quantised ones cannot be loaded",
    )


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor) or tensor(value) is not None


def _holds_tensors(value: object, depth: int = _DEPTH) -> bool:
    """Whether there are tensors in it, directly or under further keys."""
    if not isinstance(value, Mapping) or depth == 0:
        return False
    return any(_is_tensor(inner) for inner in value.values()) or any(
        _holds_tensors(value.get(key), depth - 1) for key in _WRAPPERS
    )
