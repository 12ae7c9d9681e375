"""Windows and padding: what of them TFLite's own `SAME` covers, and what depends on the image's size."""

from __future__ import annotations

from collections.abc import Mapping

from archc.ir import ops
from archc.ir.graph import Node

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


def fixed(node: Node, shapes: Mapping[str, ops.Shape]) -> bool:
    """Whether what the file does for an operation is right for one size of the image only."""
    op = node.op
    if isinstance(op, ops.Resize | ops.ResizeToMultiple | ops.Unfold | ops.Fold):
        return True
    if isinstance(op, ops.Flatten):
        return True
    if isinstance(op, ops.Pool) and op.function == "avg" and op.padding != "valid":
        same = op.padding == "same" or (op.stride == 1 and all(size % 2 for size in op.kernel))
        return same == op.count_padding and op.kernel != (1, 1)
    return False
