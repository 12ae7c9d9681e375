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
