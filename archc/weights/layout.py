"""How one tensor is kept elsewhere: the only place that changes a tensor's form.

A 1×1 convolution over one position is a linear layer, and queries, keys and values may lie in one matrix or in three.
Which of these a library does is in its map; the shapes that follow are computed from the operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from archc.ir import ops

Kind = Literal["convolution", "matrix"]
Shape = tuple[int, ...]


def shapes_there(op: ops.Op, weight: ops.Weight, kind: Kind | None, pieces: int) -> list[Shape]:
    """The shapes of the pieces in which a library keeps this weight, whose layer is a `kind` there."""
    shape = weight.shape
    if kind == "matrix" and isinstance(op, ops.Conv) and op.kernel == (1, 1) and op.groups == 1:
        shape = shape[:2] if len(shape) == 4 else shape
    elif kind == "convolution" and isinstance(op, ops.Linear):
        shape = (*shape, 1, 1) if len(shape) == 2 else shape
    return [(shape[0] // pieces, *shape[1:])] * pieces if pieces > 1 else [shape]


def joined(pieces: Sequence[Tensor], shape: Shape) -> Tensor:
    """Their pieces as one tensor in our shape."""
    whole = pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))
    return whole.reshape(shape)


def split(tensor: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    """Our tensor as their pieces."""
    parts = [tensor] if len(shapes) == 1 else list(tensor.chunk(len(shapes)))
    return [part.reshape(shape).contiguous() for part, shape in zip(parts, shapes, strict=True)]
