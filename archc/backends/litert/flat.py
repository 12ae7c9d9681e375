"""A `.tflite` file in the making: tensors, operators and buffers, by the schema that LiteRT ships."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from archc.backends.litert.operators import OPTIONS, VERSIONS
from archc.extras import require
from archc.ir.quantization import Scale
from archc.ir.state import Array

schema = require("ai_edge_litert.schema_py_generated", "litert")
flatbuffers = require("flatbuffers", "litert")

Shape = tuple[int, ...]

SIGNATURE = "serving_default"
"""The name of the one signature of a file."""

_TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int8": 9}


class _Buffer(NamedTuple):
    """A buffer that starts at a multiple of 16 bytes, as the schema demands; its own class does not see to that."""

    data: bytes | None = None

    def Pack(self, builder: Any) -> int:  # noqa: N802  (the schema's name)
        """Write it."""
        if self.data is not None:
            builder.StartVector(1, len(self.data), 16)
            builder.head = builder.Head() - len(self.data)
            builder.Bytes[builder.Head() : builder.Head() + len(self.data)] = self.data
            data = builder.EndVector()
        schema.BufferStart(builder)
        if self.data is not None:
            schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


class Tensor(NamedTuple):
    """A tensor of the file. `shape` is that for one image, whatever the batch."""

    number: int
    shape: Shape
    dtype: str
    scale: Scale | None = None


class Flat:
    """The file. With `batch` None, the first dimension of everything that is no constant is left open."""

    def __init__(self, batch: int | None, any_size: bool = False) -> None:
        self.batch, self.any_size = batch, any_size
        self._tensors: list[Any] = []
        self._buffers = [_Buffer()]
        self._operators: list[Any] = []
        self._codes: dict[tuple[str, int], int] = {}
        self._constants: dict[tuple[Any, ...], Tensor] = {}
        self._widened: dict[int, Tensor] = {}

    def tensor(
        self, name: str, shape: Shape, dtype: str = "float32", scale: Scale | None = None, *, whole: bool = False
    ) -> Tensor:
        """A new tensor that an operator computes, or the input.

        `shape` is for one image; `whole` says that it is the same for every batch.
        """
        made = schema.TensorT()
        images = shape[0] * (1 if whole else self.batch or 1)
        made.shape = np.array((images, *shape[1:]), np.int32)
        if not whole and (self.batch is None or self.any_size):
            inner = (-1, -1, shape[3]) if self.any_size and len(shape) == 4 else shape[1:]
            made.shapeSignature = np.array((images if self.batch else -1, *inner), np.int32)
        if scale is not None:
            made.quantization = _quantization([scale.scale], [scale.zero_point], 0)
        return self._add(made, name, shape, dtype, scale)

    def constant(
        self, name: str, value: Array, scales: Sequence[float] | None = None, *, axis: int = 0, zero: int = 0
    ) -> Tensor:
        """A constant. Equal ones are kept once.

        Args:
            name: what it is called; of equal constants, the first one's name stays.
            value: the numbers.
            scales: for integers: what they stand for, by one scale for all or one for each index along `axis`.
            axis: the quantised dimension.
            zero: the integer that stands for zero.
        """
        data = np.ascontiguousarray(value)
        numbers = tuple(scales) if scales is not None else None
        key = (data.tobytes(), data.dtype.name, data.shape, numbers, axis, zero)
        if key not in self._constants:
            made = schema.TensorT()
            made.shape = np.array(data.shape, np.int32)
            made.buffer = self._buffer(key[0])
            if scales is not None:
                made.quantization = _quantization(scales, [zero] * len(scales), axis)
            self._constants[key] = self._add(made, name, data.shape, data.dtype.name, None)
        return self._constants[key]

    def widened(self, constant: Tensor) -> Tensor:
        """A constant of 16-bit floats as 32-bit ones."""
        if constant.number not in self._widened:
            made = schema.TensorT()
            made.shape = np.array(constant.shape, np.int32)
            name = self._tensors[constant.number].name
            self._widened[constant.number] = self._add(made, name, constant.shape, "float32", None)
            self.op("DEQUANTIZE", [constant], self._widened[constant.number])
        return self._widened[constant.number]

    def op(self, kind: str, inputs: Sequence[Tensor | None], *outputs: Tensor, **options: Any) -> None:
        """Add an operator; `options` by the schema's names. An input that is None is left out."""
        made = schema.OperatorT()
        integer = any(tensor.dtype in ("int8", "uint8") for tensor in (*outputs, *inputs[:1]) if tensor)
        version = VERSIONS.get(kind, (1, 1))[integer]
        made.opcodeIndex = self._codes.setdefault((kind, version), len(self._codes))
        made.inputs = np.array([-1 if tensor is None else tensor.number for tensor in inputs], np.int32)
        made.outputs = np.array([tensor.number for tensor in outputs], np.int32)
        if kind in OPTIONS:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, f"{OPTIONS[kind]}Options")
            made.builtinOptions = getattr(schema, f"{OPTIONS[kind]}OptionsT")()
            for name, value in options.items():
                assert hasattr(made.builtinOptions, name), name
                setattr(made.builtinOptions, name, value)
        self._operators.append(made)

    def finish(
        self, name: str, image: tuple[str, Tensor], outputs: Mapping[str, Tensor], metadata: Mapping[str, str]
    ) -> memoryview:
        """The file's bytes."""
        graph = schema.SubGraphT()
        graph.name = name
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs = np.array([image[1].number], np.int32)
        graph.outputs = np.array([tensor.number for tensor in outputs.values()], np.int32)
        signature = schema.SignatureDefT()
        signature.signatureKey = SIGNATURE
        signature.inputs = [_named(*image)]
        signature.outputs = [_named(name, tensor) for name, tensor in outputs.items()]
        model = schema.ModelT()
        model.version = 3
        model.description = "archc"
        model.subgraphs, model.signatureDefs = [graph], [signature]
        model.metadata = [self._metadata(key, value) for key, value in metadata.items()]
        model.operatorCodes = [_code(kind, version) for kind, version in self._codes]
        model.buffers = self._buffers
        size = sum(len(buffer.data) + 64 for buffer in self._buffers if buffer.data is not None)
        builder = flatbuffers.Builder(size + 512 * (len(self._tensors) + len(self._operators)) + 4096)
        builder.Finish(model.Pack(builder), b"TFL3")
        return memoryview(builder.Bytes)[builder.Head() :]  # `Output` would copy it

    def rename(self, tensor: Tensor, name: str) -> None:
        """Give a tensor another name."""
        self._tensors[tensor.number].name = name

    def _add(self, made: Any, name: str, shape: Shape, dtype: str, scale: Scale | None) -> Tensor:
        made.name, made.type, made.hasRank = name, _TYPES[dtype], True
        self._tensors.append(made)
        return Tensor(len(self._tensors) - 1, tuple(shape), dtype, scale)

    def _buffer(self, data: bytes) -> int:
        self._buffers.append(_Buffer(data))
        return len(self._buffers) - 1

    def _metadata(self, key: str, value: str) -> Any:
        made = schema.MetadataT()
        made.name, made.buffer = key, self._buffer(value.encode())
        return made


def _quantization(scales: Sequence[float], zeros: Sequence[int], axis: int) -> Any:
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint = np.array(scales, np.float32), np.array(zeros, np.int64)
    made.quantizedDimension = axis
    return made


def _named(name: str, tensor: Tensor) -> Any:
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name, tensor.number
    return made


def _code(kind: str, version: int) -> Any:
    made = schema.OperatorCodeT()
    made.builtinCode = getattr(schema.BuiltinOperator, kind)
    made.deprecatedBuiltinCode = min(made.builtinCode, 127)  # readers from before 2020 know only this one
    made.version = version
    return made
