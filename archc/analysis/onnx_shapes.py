"""The shapes of all values in an ONNX model, its arithmetic with sizes included.

Exporters compute sizes inside the graph, such as a third of the channels. ONNX's shape inference follows only some of
that; here, what depends on sizes alone is computed by ONNX's reference implementation, and the inference runs again.
"""

from __future__ import annotations

import math
from typing import Any

from archc.extras import require

Dims = tuple[int, ...]

_LARGEST = 64
"""The most numbers of a value that is computed here. Sizes are few; weights are many."""

_NAMES = """
    Add Cast Ceil Concat ConstantOfShape Div Equal Expand Floor Gather Greater Identity Less Max Min Mod Mul Neg Not
    Range ReduceProd ReduceSum Reshape Shape Size Slice Sqrt Squeeze Sub Unsqueeze Where
"""
_ARITHMETIC = frozenset(_NAMES.split())


def with_shapes(model: Any) -> tuple[Any, dict[str, Dims]]:
    """The model, in which what depends on sizes alone is a constant, and the shapes of all values that have one.

    Raises:
        onnx.shape_inference.InferenceError: the model's shapes do not fit together.
    """
    inference = require("onnx.shape_inference", "onnx")
    while True:
        inferred = inference.infer_shapes(model, strict_mode=True, data_prop=True)
        values = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
        shapes = {value.name: dims for value in values if (dims := _dims(value)) is not None}
        shapes |= {one.name: tuple(one.dims) for one in inferred.graph.initializer}
        if not _compute_sizes(model, shapes):
            return model, shapes


def _compute_sizes(model: Any, shapes: dict[str, Dims]) -> bool:
    """Replace what depends on sizes alone by constants; whether there was anything."""
    numpy_helper, helper = require("onnx.numpy_helper", "onnx"), require("onnx.helper", "onnx")
    small = [one for one in model.graph.initializer if one.data_location == 0 and math.prod(one.dims) <= _LARGEST]
    known = {one.name: numpy_helper.to_array(one) for one in small}
    sizes = {name for name, value in known.items() if value.dtype.kind in "iub"}
    made: list[Any] = []
    for node in model.graph.node:
        if node.op_type == "Constant":
            for one in node.attribute:
                if one.name == "value" and math.prod(one.t.dims) <= _LARGEST:
                    known[node.output[0]] = numpy_helper.to_array(one.t)
                    if known[node.output[0]].dtype.kind in "iub":
                        sizes.add(node.output[0])
            continue
        if node.op_type not in _ARITHMETIC or len(node.output) != 1 or node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type in ("Shape", "Size"):
            if node.input[0] not in shapes:
                continue
            given = {node.input[0]: _zeros(shapes[node.input[0]])}
        elif all(name in known for name in node.input if name) and any(name in sizes for name in node.input):
            given = {name: known[name] for name in node.input if name}
        else:
            continue
        value = _run(node, given, model, helper)
        if value is not None and value.size <= _LARGEST:
            known[node.output[0]] = value
            sizes.add(node.output[0])
            made.append(node)
    returned = {value.name for value in model.graph.output}
    made = [node for node in made if node.output[0] not in returned]
    for node in made:
        model.graph.node.remove(node)
        model.graph.initializer.append(numpy_helper.from_array(known[node.output[0]], node.output[0]))
    return bool(made)


def _run(node: Any, given: dict[str, Any], model: Any, helper: Any) -> Any:
    """What a node gives for these inputs; None where the reference implementation cannot say."""
    reference, numpy = require("onnx.reference", "onnx"), require("numpy", "onnx")
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    output = helper.make_tensor_value_info(node.output[0], 0, None)
    graph = helper.make_graph([node], "sizes", inputs, [output])
    try:
        alone = helper.make_model(graph, opset_imports=list(model.opset_import))
        (found,) = reference.ReferenceEvaluator(alone).run(None, given)
    except Exception:  # its errors have no common base
        return None
    return numpy.asarray(found)


def _zeros(shape: Dims) -> Any:
    """An array of this shape that takes no memory."""
    numpy = require("numpy", "onnx")
    return numpy.broadcast_to(numpy.float32(0), shape)


def _dims(value: Any) -> Dims | None:
    """The shape of a value; None where a size is not known."""
    kind = value.type.tensor_type
    if not kind.HasField("shape") or any(not dim.HasField("dim_value") for dim in kind.shape.dim):
        return None
    return tuple(dim.dim_value for dim in kind.shape.dim)
