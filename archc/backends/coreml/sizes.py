"""Windows and padding, and the sizes of images that a file takes."""

from __future__ import annotations

from typing import Any

from archc.analysis.sizes import refuses, takes_any_size
from archc.ir import ops
from archc.ir.graph import Graph

LARGEST = 8
"""The largest side of an image that a file of any size takes, in multiples of the graph's own side. Core ML asks for
a limit.
"""

_SIZED = (ops.Resize, ops.ResizeToMultiple, ops.Unfold, ops.Fold)
"""Operations for which Core ML's programs need the size in numbers."""


def padding(op: ops.Conv | ops.Pool, image: ops.Image, any_size: bool) -> dict[str, Any]:
    """The padding of a window on an image, as Core ML's operations take it.

    With `any_size`, it must be right for images of other sizes too.
    """
    dilation = op.dilation if isinstance(op, ops.Conv) else 1
    if op.padding == "symmetric":
        high, wide = ops.pads_symmetric(op.kernel, dilation)
        pads = [high, high, wide, wide]
    elif op.padding == "same":
        if any_size and op.stride > 1:
            return {"pad_type": "same"}  # it is TensorFlow's, with the odd pixel at the end
        axes = zip(image[1:], op.kernel, strict=True)
        pads = [pad for size, kernel in axes for pad in ops.pads_same(size, kernel, op.stride, dilation)]
    else:
        pads = []
    return {"pad_type": "custom", "pad": pads} if any(pads) else {"pad_type": "valid"}


def takes_any(graph: Graph) -> bool:
    """Whether one program can be right for images of every size that the network takes."""
    return takes_any_size(graph) and not any(isinstance(node.op, _SIZED) for node in graph.nodes)


def smallest(graph: Graph) -> tuple[int, int]:
    """The smallest height that the network takes, at the graph's width, and the smallest width, at its height."""
    assert isinstance(graph.input.shape, ops.Image)
    _, height, width = graph.input.shape
    least_height = next(size for size in range(1, height + 1) if not refuses(graph, size, width))
    least_width = next(size for size in range(1, width + 1) if not refuses(graph, height, size))
    return least_height, least_width
