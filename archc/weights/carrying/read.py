"""Checkpoint files. Nothing in one is ever run: a pickle that holds more than tensors and plain values is refused."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archc.weights.error import refuse
from archc.weights.files import MODEL_FILES

StateDict = Mapping[str, Any]

VERSION, NAMES = "archc_version", "archc_names"
"""What a file of archc's says about itself in safetensors' metadata, beside its spec."""

_WRAPPERS = ("state_dict_ema", "model_ema", "ema", "ema_state_dict", "state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts keep the weights; averaged ones first, as they are what is published."""
_PREFIXES = ("module.", "_orig_mod.", "model.")
"""Put before every name by DataParallel, torch.compile and Lightning."""
_BOOKKEEPING = frozenset({"n_averaged"})
"""What `torch.optim.swa_utils.AveragedModel` counts; no weight."""


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, with what was taken off to get at them."""

    tensors: dict[str, Tensor]
    file: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    wrapper: str = ""
    """The keys that the tensors lay under, such as `model_ema`."""
    prefix: str = ""
    """The prefix that all names had, such as `module.`"""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors' shapes."""
        return {name: tuple(value.shape) for name, value in self.tensors.items()}

    @property
    def own(self) -> bool:
        """Whether archc wrote it, under its own names."""
        return VERSION in self.metadata and self.metadata.get(NAMES, "archc") == "archc"

    @property
    def shown(self) -> str:
        """How messages call it."""
        return f"`{self.file}`" if self.file else "the state dict"


def read(source: str | PathLike[str] | StateDict) -> Checkpoint:
    """Read a file, or take a state dict as it is.

    Raises:
        WeightsError: no checkpoint, or one that cannot be trusted.
    """
    if isinstance(source, Mapping):
        return _unwrapped(source, "", {})
    path = Path(fspath(source))
    if path.is_dir():
        path = path / MODEL_FILES["torch"]
    values, metadata = _values(path)
    return _unwrapped(values, path.name, metadata)


def _values(path: Path) -> tuple[Any, Mapping[str, str]]:
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        message = f"`{path}` cannot be read: {error.strerror or error}"
        raise refuse("weights-file", message) from None
    if not head:
        raise refuse("weights-file", f"`{path}` is empty", help="the download or the copy was not finished")
    if head[8:9] == b"{":
        return _safetensors(path)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return _torch(path), {}
    looks = _looks_like(head)
    raise refuse(
        "weights-file",
        f"`{path}` is no checkpoint{f': it looks like {looks}' if looks else ''}",
        help="archc reads safetensors files, and what `torch.save` wrote",
    )


def _looks_like(head: bytes) -> str:
    known = {
        b"\x89HDF": "HDF5 (Keras)", b"\x08": "ONNX", b"version h": "a Git LFS pointer, not the file itself",
        b"<!DOCTYPE"[:9]: "a web page", b"<html": "a web page", b"\x1f\x8b": "gzip", b"\x93NUM": "NumPy",
    }  # fmt: skip
    return next((what for magic, what in known.items() if head.startswith(magic)), "")


def _safetensors(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    import safetensors

    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (safetensors.SafetensorError, json.JSONDecodeError, RuntimeError, ValueError, AttributeError) as error:
        message = f"`{path}` is a damaged safetensors file: {_short(error)}"
        raise refuse("weights-file", message, help=_AGAIN) from None


_AGAIN = "truncated, perhaps: fetch or copy it again"


def _torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on old formats
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = str(error)
        if "Unsupported" in text or "Weights only load failed" in text or "weights_only" in text:
            raise refuse(
                "weights-file",
                f"`{path}` holds more than tensors, and loading it could run code; it is refused",
                help="where you trust it, load it with torch yourself and save its `state_dict()`",
                notes=(_short(error),),
            ) from None
        raise refuse("weights-file", f"`{path}` is a damaged checkpoint: {_short(error)}", help=_AGAIN) from None
    except Exception as error:  # whatever a broken archive makes torch raise
        torchscript = "TorchScript" in str(error)
        if torchscript:
            message = f"`{path}` is a TorchScript program, not a checkpoint; it is refused"
            raise refuse("weights-file", message, help="save the `state_dict()` of what it was made from") from None
        raise refuse("weights-file", f"`{path}` is a damaged checkpoint: {_short(error)}", help=_AGAIN) from None


def _short(error: Exception) -> str:
    """The telling line of torch's long messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "GLOBAL" in line or "WeightsUnpickler error" in line]
    return ((telling or lines or [type(error).__name__])[0])[:200]


def _unwrapped(values: Any, file: str, metadata: Mapping[str, str]) -> Checkpoint:
    shown = f"`{file}`" if file else "what was passed"
    taken: list[str] = []
    while isinstance(values, Mapping) and not any(isinstance(value, Tensor) for value in values.values()):
        inner = next((key for key in _WRAPPERS if _holds_tensors(values.get(key))), None)
        if inner is None:
            break
        taken.append(inner)
        values = values[inner]
    if not isinstance(values, Mapping):
        raise refuse("weights-file", f"{shown} is no state dict but a `{type(values).__name__}`")
    if not values:
        raise refuse("weights-file", f"{shown} holds no tensors")
    others = [f"`{key}`: {type(value).__name__}" for key, value in values.items() if not isinstance(value, Tensor)]
    if others:
        raise refuse(
            "weights-file",
            f"{shown} holds values that are no tensors",
            notes=tuple(others[:5]),
            help=f"weights are looked for at the top, and under {', '.join(f'`{key}`' for key in _WRAPPERS)}",
        )
    tensors = {str(name): value.detach() for name, value in values.items() if name not in _BOOKKEEPING}
    prefix = ""
    while tensors and (found := next((p for p in _PREFIXES if all(name.startswith(p) for name in tensors)), "")):
        tensors = {name.removeprefix(found): value for name, value in tensors.items()}
        prefix += found
    return Checkpoint(tensors, file, metadata, ".".join(taken), prefix)


def _holds_tensors(value: Any) -> bool:
    """Whether there are tensors in it, directly or under a further wrapper."""
    if not isinstance(value, Mapping):
        return False
    return any(isinstance(v, Tensor) for v in value.values()) or any(_holds_tensors(value.get(k)) for k in _WRAPPERS)
