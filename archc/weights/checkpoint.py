"""A checkpoint: tensors by name, wherever they come from. Their numbers are converted when they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from archc.ir.graph import TRANSFORMS
from archc.ir.state import Array, is_counter

VERSION, NAMES = "archc_version", "archc_names"
"""What a file that archc wrote says in its metadata, beside its network."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint."""

    shape: tuple[int, ...]
    kind: str
    """The type of its numbers, such as `float16`, or what else it is, such as `sparse float32`."""
    convert: Callable[[], Array]
    """Its numbers, as an array. Called only for tensors of floating-point numbers and counters."""

    @property
    def is_float(self) -> bool:
        """Whether it holds floating-point numbers that can be read."""
        return self.kind in _FLOATS

    @property
    def is_count(self) -> bool:
        """Whether it holds whole numbers that can be read."""
        return self.kind in ("int32", "int64")


_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, with what was taken off to get at them."""

    tensors: Mapping[str, Tensor]
    file: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What a file of archc's says about itself."""
    wrapper: str = ""
    """The keys that the tensors lay under, such as `model_ema`."""
    prefix: str = ""
    """The prefix that all names had, such as `module.`"""

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors' shapes."""
        return {name: value.shape for name, value in self.tensors.items()}

    @property
    def own(self) -> bool:
        """Whether archc wrote it, under its own names."""
        return VERSION in self.metadata and self.metadata.get(NAMES, "archc") == "archc"

    @property
    def transforms(self) -> tuple[str, ...]:
        """The transforms that rewrote the network it was written from."""
        return tuple(name for name in self.metadata.get(TRANSFORMS, "").split(",") if name)

    @property
    def shown(self) -> str:
        """How messages call it."""
        return f"`{self.file}`" if self.file else "the state dict"

    @cached_property
    def numbers(self) -> int:
        """How many numbers it holds, counters of batches left out."""
        sizes = 0
        for name, shape in self.shapes.items():
            size = 1
            for length in shape:
                size *= length
            sizes += 0 if is_counter(name) else size
        return sizes


def tensor(value: object) -> Tensor | None:
    """A torch tensor or a NumPy array as a checkpoint's tensor; None for anything else."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _of_torch(torch, value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        array: Any = value
        return Tensor(tuple(array.shape), str(array.dtype), lambda: array)
    return None


def _of_torch(torch: Any, value: Any) -> Tensor:
    kind = _torch_kind(value.dtype)
    if value.is_nested:
        return Tensor((), f"nested {kind}", lambda: _array(torch, value))
    if value.layout != torch.strided:
        kind = f"sparse {kind}"
    elif value.is_meta:
        kind = f"{kind} without numbers, on the meta device"
    return Tensor(tuple(value.shape), kind, lambda: _array(torch, value))


_kinds: dict[object, str] = {}


def _torch_kind(dtype: object) -> str:
    if dtype not in _kinds:
        _kinds[dtype] = str(dtype).removeprefix("torch.")
    return _kinds[dtype]


def _array(torch: Any, value: Any) -> Array:
    value = value.detach().cpu()
    array: Array = (value.float() if value.dtype == torch.bfloat16 else value).numpy()  # NumPy lacks bfloat16
    return array
