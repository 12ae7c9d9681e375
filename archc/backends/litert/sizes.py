"""Windows and padding: what of them TFLite's own `SAME` covers, and what depends on the image's size."""

from __future__ import annotations

from archc.ir import ops
from archc.ir.graph import Graph

Pads = tuple[ops.Pair, ops.Pair]
"""Rows above and below, and columns left and right, that are added."""

NONE: Pads = ((0, 0), (0, 0))


def padding(op: ops.Conv | ops.Pool, image: ops.Image, any_size: bool) -> tuple[bool, Pads]:
    """How a window is padded: whether by TFLite's `SAME`, or else the padding that goes before it.

    Args:
        op: a convolution or pool.
        image: what it reads.
        any_size: whether that must be right for images of other sizes too.
    """
    dilation = op.dilation if isinstance(op, ops.Conv) else 1
    if op.padding == "valid":
        return False, NONE
    if op.padding == "same":
        return True, same(op, image)
    high, wide = ops.pads_symmetric(op.kernel, dilation)
    pads = ((high, high), (wide, wide))
    if pads == NONE:
        return False, NONE
    if any_size:
        return op.stride == 1 and all(size % 2 for size in op.kernel), pads
    return pads == same(op, image), pads


def same(op: ops.Conv | ops.Pool, image: ops.Image) -> Pads:
    """TensorFlow's padding for an image of this size."""
    dilation = op.dilation if isinstance(op, ops.Conv) else 1
    rows = ops.pads_same(image.height, op.kernel[0], op.stride, dilation)
    return rows, ops.pads_same(image.width, op.kernel[1], op.stride, dilation)


def any_size(graph: Graph) -> bool:
    """Whether the file of a graph can take images of any height and width.

    What reads nothing but means over all positions is the same at every size.
    """
    alike: set[str] = set()
    for node in graph.nodes[1:]:
        if isinstance(node.op, ops.GlobalPool) or alike.issuperset(node.inputs):
            alike.add(node.name)
        elif fixed(node.op):
            return False
    return True


def fixed(op: ops.Op) -> bool:
    """Whether what the file does for an operation is right for images of one height and width only."""
    if isinstance(op, ops.Pool) and op.function == "avg" and op.padding != "valid" and op.kernel != (1, 1):
        own = op.padding == "same" or (op.stride == 1 and all(size % 2 for size in op.kernel))
        return op.count_padding == own and not (op.count_padding and op.padding == "symmetric")
    return isinstance(op, ops.Flatten | ops.ResizeToMultiple | ops.Unfold | ops.Fold)
