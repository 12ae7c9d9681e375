"""The shapes in which libraries keep one tensor, and the only place that changes a tensor's shape.

A 1×1 convolution on one position is a linear layer, and queries, keys and values lie in one matrix or in three. A
library's map says which of these it does; the shapes follow from the operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from archc.ir import ops
from archc.ir.state import Array

Kind = Literal["convolution", "matrix"]
Shape = tuple[int, ...]


def shapes_there(op: ops.Op, shape: Shape, kind: Kind | None, pieces: int) -> tuple[Shape, ...]:
    """The shapes of the pieces in which a library keeps a weight of `op`, if its layer is a `kind` there."""
    if kind == "matrix" and isinstance(op, ops.Conv) and op.kernel == (1, 1) and op.groups == 1:
        shape = shape[:2] if len(shape) == 4 else shape
    elif kind == "convolution" and isinstance(op, ops.Linear):
        shape = (*shape, 1, 1) if len(shape) == 2 else shape
    return ((shape[0] // pieces, *shape[1:]),) * pieces if pieces > 1 else (shape,)


def joined(pieces: Sequence[Array], shape: Shape) -> Array:
    """A library's pieces as one array of our shape."""
    if len(pieces) == 1:
        return pieces[0].reshape(shape)
    import numpy

    return numpy.concatenate(pieces).reshape(shape)


def split(array: Array, shapes: Sequence[Shape]) -> list[Array]:
    """Our array as a library's pieces of these shapes."""
    ends = [sum(shape[0] for shape in shapes[: number + 1]) for number in range(len(shapes))] if len(shapes) > 1 else []
    starts = [0, *ends[:-1]]
    parts = [array[start:end] for start, end in zip(starts, ends, strict=True)] if ends else [array]
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
