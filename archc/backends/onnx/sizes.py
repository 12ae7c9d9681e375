"""What depends on height and width: paddings, interpolation, patches.

A file of one size has constants for it; another computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from archc.backends.onnx.step import Step
from archc.ir import ops

Size = tuple[int, ...]


def padding(step: Step, op: ops.Conv | ops.Pool) -> tuple[str, dict[str, Any]]:
    """What a window reads, and the attributes that state its padding."""
    dilation = op.dilation if isinstance(op, ops.Conv) else 1
    if op.padding == "symmetric":
        return step.x, _pads([(p, p) for p in ops.pads_symmetric(op.kernel, dilation)])
    if op.padding == "valid":
        return step.x, {}
    # Without a stride the padding is the same for all sizes.
    if not step.any_size or op.stride == 1:
        sizes = zip(step.image()[1:], op.kernel, strict=True)
        return step.x, _pads([ops.pads_same(size, kernel, op.stride, dilation) for size, kernel in sizes])
    if dilation == 1:
        return step.x, {"auto_pad": "SAME_UPPER"}
    return _padded(step, op.kernel, op.stride, dilation), {}  # runtimes refuse the automatic padding with a dilation


def _pads(pairs: Sequence[tuple[int, int]]) -> dict[str, Any]:
    (top, bottom), (left, right) = pairs
    return {"pads": (top, left, bottom, right)} if any((top, left, bottom, right)) else {}


def _padded(step: Step, kernel: ops.Pair, stride: int, dilation: int) -> str:
    """The input padded by zeros as `ops.pads_same` says, by computed amounts."""
    writer = step.writer
    size = writer.size(step.x)
    starts = step.add("Sub", _ceil_div(step, size, (stride, stride)), writer.integers(1, 1))
    reach = writer.integers(*((k - 1) * dilation + 1 for k in kernel))
    covered = step.add("Add", step.add("Mul", starts, writer.integers(stride, stride)), reach)
    total = step.add("Max", step.add("Sub", covered, size), writer.integers(0, 0))
    before = step.add("Div", total, writer.integers(2, 2))
    pads = step.add("Concat", before, step.add("Sub", total, before), axis=0)
    return step.add("Pad", step.x, pads, step.number(0), writer.integers(2, 3), mode="constant")


def _ceil_div(step: Step, size: str, by: ops.Pair) -> str:
    more = step.add("Add", size, step.writer.integers(by[0] - 1, by[1] - 1))
    return step.add("Div", more, step.writer.integers(*by))


def rounded_up(step: Step, size: str, multiple: ops.Pair) -> str:
    """A size, rounded up to a multiple."""
    return step.add("Mul", _ceil_div(step, size, multiple), step.writer.integers(*multiple))


def divided(step: Step, size: str, by: ops.Pair) -> list[str]:
    """Height and width, each divided and a vector of one integer."""
    names = [step.writer.fresh("rows"), step.writer.fresh("columns")]
    shares = step.add("Div", size, step.writer.integers(*by))
    return list(step.writer.add_many("Split", [shares], names, axis=0, num_outputs=2))


def resized(step: Step, size: str, mode: ops.Interpolation, known: tuple[Size, Size] | None = None) -> str:
    """The first input, interpolated to a size: the operation's result.

    Args:
        step: the operation.
        size: height and width as a vector.
        mode: `bilinear` has half-pixel centres, `nearest` takes pixel ⌊i · in / out⌋.
        known: the input's size and the result's, in a file of one size.
    """
    if mode == "nearest" and (known is None or not _exact(*known)):
        return _taken(step, size, known)
    settings = _BILINEAR if mode == "bilinear" else _NEAREST
    return step.make("Resize", step.x, "", "", size, axes=(2, 3), **settings)


_BILINEAR = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
_NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def _exact(before: Size, after: Size) -> bool:
    """Whether 32-bit floats are sure to give the right pixels: ⌊i / (out / in)⌋ with a whole quotient."""
    return all(b % a == 0 for a, b in zip(before, after, strict=True))


def _taken(step: Step, size: str, known: tuple[Size, Size] | None) -> str:
    """Nearest pixels, by indices that are integers and therefore exact: rows, then columns."""
    if known is not None:
        pairs = zip(*known, strict=True)
        rows, columns = (step.writer.constant(np.arange(after) * before // after) for before, after in pairs)
    else:
        rows, columns = (_indices(step, size, axis) for axis in (0, 1))
    return step.make("Gather", step.add("Gather", step.x, rows, axis=2), columns, axis=3)


def _indices(step: Step, size: str, axis: int) -> str:
    zero, one = (step.writer.constant(np.int64(number)) for number in (0, 1))
    which = step.writer.constant(np.int64(axis))
    before, after = (step.add("Gather", value, which) for value in (step.writer.size(step.x), size))
    places = step.add("Range", zero, after, one)
    return step.add("Div", step.add("Mul", places, before), after)
