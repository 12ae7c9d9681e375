"""Receptive fields and strides along the graph."""

from __future__ import annotations

from typing import NamedTuple

from archc.ir.graph import Graph, Node
from archc.ir.ops import Fold, Gate, Resize, ResizeToMultiple, Unfold


class Field(NamedTuple):
    """What one position of a value sees of the input: pixels high and wide, None for all of it; and its stride."""

    height: int | None
    width: int | None
    stride: int


def fields(graph: Graph) -> dict[str, Field]:
    """The theoretical receptive field of every value (Araujo et al. 2019, "Computing Receptive Fields").

    Along a path of windows, each adds (kernel - 1)·dilation·stride-so-far; where paths meet, the largest counts.
    A squeeze-and-excitation gate sees the whole image but only scales channels: the gated path alone is counted.
    Attention and global pooling see everything.
    """
    found: dict[str, Field] = {}
    for node in graph.nodes:
        found[node.name] = _field(node, found) if node.inputs else Field(1, 1, 1)
    return found


def _field(node: Node, found: dict[str, Field]) -> Field:
    names = node.inputs[:1] if isinstance(node.op, Gate | Resize | Fold) else node.inputs
    inputs = [found[name] for name in names]
    stride = max(field.stride for field in inputs)
    if isinstance(node.op, Resize | Fold):
        stride = found[node.inputs[1]].stride  # back on the grid of what it was resized or folded to
    height = widest([field.height for field in inputs])
    width = widest([field.width for field in inputs])
    if node.op.sees_all:
        return Field(None, None, stride)
    if isinstance(node.op, Unfold | ResizeToMultiple) or (window := node.op.window) is None:
        return Field(height, width, stride)
    reach = window.dilation * stride
    return Field(
        None if height is None else height + (window.kernel[0] - 1) * reach,
        None if width is None else width + (window.kernel[1] - 1) * reach,
        stride * window.stride,
    )


def widest(sizes: list[int | None]) -> int | None:
    """The largest size, where None is larger than all."""
    known = [size for size in sizes if size is not None]
    return max(known) if len(known) == len(sizes) else None
