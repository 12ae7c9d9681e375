"""Another tool's count beside archc's, operation by operation, with the reason for every difference."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from archc.ir import ops
from archc.ir.graph import Node
from archc.ir.ops import Shape
from archc.reporting import numbers
from archc.reporting.console import line
from archc.reporting.model import Report
from archc.reporting.tables import Column, Table, number

UNEXPLAINED = "unexplained: please report this"


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of operation: both counts, and the reason if they differ."""

    operation: str
    archc: int
    other: int
    reason: str = ""

    @property
    def difference(self) -> int:
        """How much more the other tool counts."""
        return self.other - self.archc


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both counts of every kind of operation; `counter` names the other tool, `unit` is the unit of both counts."""

    counter: str
    unit: str
    lines: tuple[Line, ...]

    @property
    def total(self) -> Line:
        """Both sums."""
        return Line("total", sum(line.archc for line in self.lines), sum(line.other for line in self.lines))

    @property
    def explained(self) -> bool:
        """Whether every difference has a reason."""
        return all(line.reason != UNEXPLAINED for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        lines = [{**asdict(line), "difference": line.difference} for line in self.lines]
        total = {"archc": self.total.archc, "other": self.total.other, "difference": self.total.difference}
        return {"name": self.counter, "unit": self.unit, "explained": self.explained, **total, "operations": lines}


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print both counts side by side, with the reasons at the end of the lines."""
    unit = comparison.unit
    console.print(line((f"{unit} counted by {comparison.counter}", "bold"), " on the compiled module"))
    console.print()
    columns = (Column("operation"), number("archc"), number("counted"), number("difference"), Column("because"))
    rows = [(*_numbers(line), line.reason) for line in comparison.lines]
    Table(columns, list(rows), (*_numbers(comparison.total), "")).print(console)


def _numbers(line: Line) -> tuple[str, str, str, str]:
    return line.operation, numbers.count(line.archc), numbers.count(line.other), numbers.change(line.difference)


@dataclass(frozen=True, slots=True)
class _Habit:
    """How fvcore counts a kind of operation: its names for it, and what it adds to archc's count."""

    names: tuple[str, ...]
    factor: int = 0
    elements: Callable[[Node, Sequence[Shape]], int] = lambda node, inputs: 0
    what: str = ""


def _inputs(node: Node, inputs: Sequence[Shape]) -> int:
    return math.prod(inputs[0])


def _resized(node: Node, inputs: Sequence[Shape]) -> int:
    return math.prod(node.shape) if node.shape != inputs[0] else 0  # an input of the right size is not resized


_FVCORE = {
    "conv": _Habit(("conv",)),
    "linear": _Habit(("linear", "addmm")),
    "attention": _Habit(("scaled_dot_product_attention", "matmul", "bmm", "einsum")),
    "batch_norm": _Habit(("batch_norm",), 2, _inputs, "normalised elements"),
    "layer_norm": _Habit(("layer_norm",), 5, _inputs, "normalised elements"),
    "global_pool": _Habit(("adaptive_avg_pool2d",), 1, _inputs, "pooled elements"),
    "resize": _Habit(("upsample_bilinear2d",), 4, _resized, "interpolated elements"),
}
_ALSO = {"resize_to_multiple": "resize"}
"""Kinds of operation that run as the torch operation of another kind."""


def with_fvcore(report: Report, counted: Mapping[str, int], version: str) -> Comparison:
    """Compare a report with fvcore's count by operator name.

    A reason explains a difference only if it accounts for exactly that number.
    """
    ours: dict[str, int] = {}
    elements: dict[str, int] = {}
    for graph, times in [(report.graph, 1), *((call.graph, call.times) for call in report.graph.calls)]:
        shapes = graph.shapes()
        for node, cost in graph.costs():
            kind = _ALSO.get(node.op.kind, node.op.kind)
            ours[kind] = ours.get(kind, 0) + times * cost.macs
            if kind in _FVCORE:
                inputs = [shapes[name] for name in node.inputs]
                elements[kind] = elements.get(kind, 0) + times * _FVCORE[kind].elements(node, inputs)
    lines = []
    for kind, habit in _FVCORE.items():
        other = sum(counted.get(name, 0) for name in habit.names)
        reason = _reason(habit, ours.get(kind, 0), other, elements.get(kind, 0))
        lines.append(Line(kind, ours.get(kind, 0), other, reason))
    known = {name for habit in _FVCORE.values() for name in habit.names}
    lines += [Line(name, 0, other, UNEXPLAINED) for name, other in counted.items() if name not in known]
    lines += [Line(kind, macs, 0, UNEXPLAINED) for kind, macs in ours.items() if macs and kind not in _FVCORE]
    return Comparison(f"fvcore {version}", "MACs", tuple(line for line in lines if line.archc or line.other))


def _reason(habit: _Habit, ours: int, other: int, elements: int) -> str:
    if ours == other:
        return ""
    if other - ours == habit.factor * elements:
        return f"fvcore adds {habit.factor} × {numbers.count(elements)} {habit.what}"
    return "fvcore does not see fused attention" if not other else UNEXPLAINED


def with_torch(report: Report, counted: Mapping[str, int], version: str) -> Comparison:
    """Compare a report with the count of torch's FlopCounterMode by operator name; a MAC is two FLOPs."""
    convolutions = sum(flops for name, flops in counted.items() if name.startswith("conv"))
    products = sum(counted.values()) - convolutions
    ours = {layer.op: 0 for layer in report.layers}
    for layer in report.layers:
        ours[layer.op] += 2 * layer.macs
    rest = sum(macs for kind, macs in ours.items() if kind != ops.Conv.kind)
    pairs = (("convolutions", ours.get(ops.Conv.kind, 0), convolutions), ("matrix products", rest, products))
    lines = (Line(name, mine, other, "" if mine == other else UNEXPLAINED) for name, mine, other in pairs)
    return Comparison(f"FlopCounterMode of torch {version}", "FLOPs", tuple(lines))
