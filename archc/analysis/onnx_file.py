"""The cost of a network in an ONNX file, from the file's own graph: archc need not have written it.

Shapes come from ONNX's own shape inference. MACs are counted as archc counts them: multiply-accumulates of
convolutions, linear layers and matrix products for one image; nothing for biases, norms, activations and pools.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archc.analysis.onnx_shapes import Dims, with_shapes
from archc.document.diagnostics import fail
from archc.extras import require

_FREE_NAMES = """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization BitShift Cast CastLike Ceil Celu Clip Concat Constant
    ConstantOfShape Cos DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Equal Erf Exp Expand EyeLike
    Flatten Floor Gather GatherElements GatherND Gelu GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual
    GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization
    LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization Max MaxPool Mean MeanVarianceNormalization Min Mish Mod
    Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear Range Reciprocal ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
    Round RMSNormalization ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Size Slice Softmax Softplus
    Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze
    Upsample Where Xor
"""
FREE = frozenset(_FREE_NAMES.split())
"""Operations without multiply-accumulates of weights or of two activations."""

_WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "ConvInteger": (1,),
    "QLinearConv": (3, 8),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "RMSNormalization": (1,),
    "PRelu": (1,),
}
"""Where an operation reads trained numbers. The statistics of batch normalisations are not trained."""

_KEEPING = frozenset(
    {
        *("Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear"),
        *("Reshape", "Squeeze", "Transpose", "Unsqueeze"),
    }
)
"""Operations that make of a weight the same weight in another form."""


@dataclass(frozen=True)
class FileLayer:
    """A node of the file that has parameters or MACs. `output` is the shape for one image, without the batch."""

    name: str
    op: str
    params: int
    macs: int
    output: Dims

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"name": self.name, "op": self.op, "params": self.params, "macs": self.macs, "output": list(self.output)}


@dataclass(frozen=True)
class FileCost:
    """The cost of a network in a file, for one image. Parameters that several nodes share belong to the first."""

    name: str
    input: Dims
    outputs: Mapping[str, Dims]
    layers: tuple[FileLayer, ...]

    @property
    def params(self) -> int:
        """Trained numbers."""
        return sum(layer.params for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(layer.macs for layer in self.layers)


def cost_of(path: Path, size: tuple[int, int] | None = None) -> FileCost:
    """Price a network in an `.onnx` file.

    Args:
        path: the file.
        size: height and width of the image; needed where the file leaves them open, and right only there.

    Raises:
        SpecError: `onnx-file`: it is no ONNX file, has several inputs, or an operation whose cost is not known; the
            message names the node.
        MissingExtraError: onnx is not installed.
        OSError: the file cannot be read.
    """
    return _Reader(path, read_model(path), size).cost()


def read_model(path: Path) -> Any:
    """The model in an `.onnx` file, without weights that are kept beside it.

    Raises:
        SpecError: `onnx-file`: it is none.
        MissingExtraError: onnx is not installed.
        OSError: the file cannot be read.
    """
    onnx = require("onnx", "onnx")
    message = require("google.protobuf.message", "onnx")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except message.DecodeError:
        raise fail("onnx-file", f"`{path}` is damaged, or no ONNX file") from None
    if not model.graph.node:
        raise fail("onnx-file", f"`{path}` is damaged, or no ONNX file: it has no operations")
    return require("onnx.inliner", "onnx").inline_local_functions(model) if model.functions else model


def metadata_of(path: Path) -> dict[str, str]:
    """What an `.onnx` file says about itself.

    Raises:
        SpecError: as `read_model`.
    """
    return {entry.key: entry.value for entry in read_model(path).metadata_props}


class _Reader:
    def __init__(self, path: Path, model: Any, size: tuple[int, int] | None) -> None:
        self.path = path
        self.name = model.graph.name or path.stem
        self.stored: dict[str, int] = {one.name: math.prod(one.dims) for one in model.graph.initializer}
        inputs = [value for value in model.graph.input if value.name not in self.stored]
        if len(inputs) != 1:
            raise fail("onnx-file", f"`{path}` has {len(inputs)} inputs; a network for images has one")
        self.source = inputs[0]
        self.batch = self._fix(self.source, size)
        self.graph, self.shapes = self._inferred(model)
        self.roots = {name: name for name in self.stored}
        """The stored tensor that each constant comes from."""
        self.counted: set[str] = set()
        self.products: set[str] = set()

    def _fix(self, source: Any, size: tuple[int, int] | None) -> int:
        """Give every open dimension of the input a size; the batch, which is 1 where it is open."""
        dims = source.type.tensor_type.shape.dim
        if len(dims) < 2:
            raise fail("onnx-file", f"the input `{source.name}` of `{self.path}` is no batch of images or vectors")
        self.opened = any(not dim.HasField("dim_value") for dim in dims)
        open_dims = [number for number, dim in enumerate(dims) if not dim.HasField("dim_value")]
        if 0 in open_dims:
            dims[0].dim_value = 1
        inner = [number for number in open_dims if number]
        if size is not None:
            if len(dims) != 4 or any(number not in (2, 3) for number in inner) or len(inner) != 2:
                message = f"`{self.path}` does not leave the height and width of its image open"
                raise fail("onnx-file", message, help="leave the size out")
            for number, side in zip(inner, size, strict=True):
                dims[number].dim_value = side
        elif inner:
            message = f"`{self.path}` leaves sizes of its input `{source.name}` open"
            raise fail("onnx-file", message, help="state the image's height and width: `--size 224x224`")
        return int(dims[0].dim_value)

    def _inferred(self, model: Any) -> tuple[Any, dict[str, Dims]]:
        inference = require("onnx.shape_inference", "onnx")
        if self.opened:
            # The other shapes in the file are as open as the input's were.
            del model.graph.value_info[:]
            for output in model.graph.output:
                output.type.tensor_type.ClearField("shape")
        try:
            model, shapes = with_shapes(model)
        except inference.InferenceError as error:
            reason = str(error).strip().partition("\n")[0]
            raise fail("onnx-file", f"the shapes in `{self.path}` do not fit together: {reason}") from None
        return model.graph, shapes

    def cost(self) -> FileCost:
        layers = tuple(layer for layer in self._layers() if layer.params or layer.macs)
        outputs = {value.name: self._one(value.name, "the output") for value in self.graph.output}
        return FileCost(self.name, self._one(self.source.name, "the input"), outputs, layers)

    def _layers(self) -> Iterator[FileLayer]:
        for number, node in enumerate(self.graph.node):
            name = node.name or f"{node.op_type}_{number}"
            known = node.op_type in FREE or node.op_type in _MACS
            if node.domain not in ("", "ai.onnx") or not known:
                kind = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
                message = f"the cost of `{kind}` is not known, which the node `{name}` of `{self.path}` computes"
                raise fail("onnx-file", message, help="a network in ONNX's own operations can be priced")
            self._follow(node)
            macs = self._macs(node, name) if node.op_type in _MACS else 0
            params = sum(self._params(node, number) for number in range(len(node.input)))
            if params or macs:
                yield FileLayer(name, node.op_type, params, macs, self._one(node.output[0], f"the node `{name}`"))

    def _follow(self, node: Any) -> None:
        """Note which values are constants, and which come from a matrix product."""
        if node.op_type == "Constant":
            (attribute,) = node.attribute
            self.roots[node.output[0]] = node.output[0]
            self.stored[node.output[0]] = math.prod(attribute.t.dims) if attribute.name == "value" else 1
        elif node.op_type in _KEEPING and node.input[0] in self.roots:
            self.roots[node.output[0]] = self.roots[node.input[0]]
        elif node.op_type in ("MatMul", "MatMulInteger", "QLinearMatMul"):
            self.products.add(node.output[0])

    def _params(self, node: Any, number: int) -> int:
        """The trained numbers that an input of a node brings, if no node before has them."""
        root = self.roots.get(node.input[number])
        bias = node.op_type == "Add" and node.input[1 - number] in self.products  # after a product of matrices
        if root is None or root in self.counted or not (bias or number in _WEIGHTS.get(node.op_type, ())):
            return 0
        self.counted.add(root)
        return self.stored[root]

    def _macs(self, node: Any, name: str) -> int:
        place, kind = f"the node `{name}`", node.op_type
        out = self._shape(node.output[0], place)
        if kind in _CONVOLUTIONS:
            kernel = self._shape(node.input[_CONVOLUTIONS[kind]], place)
            spread = self._shape(node.input[0], place) if kind == "ConvTranspose" else out
            macs = math.prod(spread) * math.prod(kernel[1:])
        elif kind == "Gemm":
            first = self._shape(node.input[0], place)
            turned = any(one.name == "transA" and one.i for one in node.attribute)
            macs = math.prod(out) * first[0 if turned else 1]
        else:
            macs = math.prod(out) * self._shape(node.input[0], place)[-1]
        if macs % self.batch:
            raise fail("onnx-file", f"{place} of `{self.path}` does not compute every image by itself")
        return macs // self.batch

    def _shape(self, value: str, place: str) -> Dims:
        if value not in self.shapes:
            message = f"the shape of `{value}` at {place} of `{self.path}` depends on more than the image's size"
            raise fail("onnx-file", message)
        return self.shapes[value]

    def _one(self, value: str, place: str) -> Dims:
        """A shape for one image: without the batch, where that comes first."""
        shape = self._shape(value, place)
        if shape and shape[0] == self.batch:
            return shape[1:]
        return shape


_CONVOLUTIONS = {"Conv": 1, "ConvTranspose": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Where a convolution reads its kernel: [out, in / groups, height, width], or [in, out / groups, …] transposed."""

_MACS = frozenset({*_CONVOLUTIONS, "Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"})
