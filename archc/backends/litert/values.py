"""The values of a network in the file: in float, in int8, or in both."""

from __future__ import annotations

from collections.abc import Mapping

from archc.backends.litert.flat import Flat, Tensor
from archc.ir.quantization import Range


class Values:
    """Tensors by the names of the graph's nodes. What `held` names is held in int8, and everybody reads it so."""

    def __init__(self, flat: Flat, held: Mapping[str, Range]) -> None:
        self._flat, self._held = flat, held
        self._real: dict[str, Tensor] = {}
        self._int8: dict[str, Tensor] = {}

    def put(self, name: str, tensor: Tensor) -> None:
        """Set a value: to a float, which is rounded if it is to be held in int8, or to an int8 tensor."""
        if tensor.scale is None and name in self._held:
            scale = self._held[name].scale
            made = self._flat.tensor(name, tensor.shape, "int8", scale)
            self._flat.op("QUANTIZE", [tensor], made)
            tensor = made
        (self._real if tensor.scale is None else self._int8)[name] = tensor

    def int8(self, name: str) -> Tensor:
        """A value that is held in int8."""
        return self._int8[name]

    def real(self, name: str) -> Tensor:
        """A value in float."""
        if name not in self._real:
            held = self._int8[name]
            made = self._flat.tensor(name, held.shape, "float32")
            self._flat.op("DEQUANTIZE", [held], made)
            self._real[name] = made
        return self._real[name]

    def some(self, name: str) -> Tensor:
        """A value in the type that it has, for its shape."""
        return self._real[name] if name in self._real else self._int8[name]
