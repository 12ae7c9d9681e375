"""Which sizes of image a network takes."""

from __future__ import annotations

from archc.ir import ops
from archc.ir.graph import Graph


def takes_any_size(graph: Graph) -> bool:
    """Whether the network fits any height and width: no layer flattens a feature map that has not been pooled."""
    sized: dict[str, bool] = {graph.input.name: True}
    for node in graph.nodes[1:]:
        like = node.inputs[-1] if isinstance(node.op, ops.Resize | ops.Fold) else node.inputs[0]
        sized[node.name] = sized[like] and not isinstance(node.op, ops.GlobalPool)
        if isinstance(node.op, ops.Flatten) and sized[node.name]:
            return False
    return True


def refuses(graph: Graph, height: int, width: int) -> str:
    """Why a network cannot take an input of this size; empty where it can."""
    assert isinstance(graph.input.shape, ops.Image)
    shapes: dict[str, ops.Shape] = {graph.input.name: ops.Image(graph.input.shape.channels, height, width)}
    for node in graph.nodes[1:]:
        inputs = tuple([shapes[name] for name in node.inputs])
        try:
            shapes[node.name] = ops.infer(node.op, inputs)
        except ops.ShapeError as error:
            return f"`{node.name}`: {error}"
        if [weight.shape for weight in node.op.weights(*inputs)] != [weight.shape for weight in node.weights]:
            return f"the weights of `{node.name}` fit an input of {graph.input.shape.width}×{graph.input.shape.height}"
    return ""
