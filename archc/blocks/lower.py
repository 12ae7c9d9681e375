"""Spec to Graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from archc import passes
from archc.blocks.base import Block, Net
from archc.blocks.heads import BACKBONE, heads
from archc.document.diagnostics import Diagnostic, Span, SpecError, did_you_mean, fail, one_of
from archc.ir import ops
from archc.ir.graph import Call, Graph, Node, Region, Subgraph
from archc.ir.ops import ShapeError
from archc.ir.verify import verify, verify_subgraph
from archc.language import wiring
from archc.language.detector import FasterRcnn
from archc.language.row import Row
from archc.language.schema import Spec
from archc.language.wiring import INPUT, Position, Tap

STAGE_LABEL = "Stage"


def lower(spec: Spec, *, prune: bool = True) -> Graph:
    """Run the passes, turn every row that an output needs into operations, and verify the result.

    Without `prune`, every operation of every row is kept, whether an output needs it or not.

    Raises:
        SpecError: references that do not resolve, shapes that do not fit; every problem that can be found at once.
    """
    written, spec = spec, passes.run(spec)
    shape = ops.Image(spec.input.channels, *spec.input.size)
    graph = replace(_network(spec, shape, prune), preprocessing=spec.input, spec=written)
    return graph if spec.detector is None else _detector(spec, graph)


def _network(spec: Spec, input: ops.Shape, prune: bool = True) -> Graph:
    """The rows as a graph for inputs of this shape."""
    wires = wiring.inputs(spec)
    outputs = wiring.outputs(spec)
    wanted: _Wanted = _wanted(wires, outputs) if prune else dict.fromkeys(wires)
    return verify(_Lowering(spec, wires, wanted, input).graph(outputs))


def _detector(spec: Spec, graph: Graph) -> Graph:
    """The graph with the heads that a detector runs on its outputs, the levels."""
    shapes = graph.shapes()
    levels = {name: shapes[node] for name, node in graph.outputs.items()}
    images = {name: shape for name, shape in levels.items() if isinstance(shape, ops.Image)}
    if bad := [name for name in levels if name not in images]:
        message = f"level `{bad[0]}` is no image but {ops.show(levels[bad[0]])}"
        raise fail("shape", message, _output_span(spec, bad[0]), help="a detector's `outputs` are feature maps")
    widths = {name: shape.channels for name, shape in images.items()}
    if isinstance(spec.detector, FasterRcnn) and len(set(widths.values())) > 1:
        names = ", ".join(f"`{name}` {width}" for name, width in widths.items())
        odd = next(name for name, width in widths.items() if width != next(iter(widths.values())))
        message = f"all levels share one head, but their channels differ: {names}"
        raise fail("shape", message, _output_span(spec, odd), help="bring them to one width with a `block: fpn` row")
    calls = tuple(
        Call(head.name, _network(head.spec, head.input), head.on, head.times, head.again)
        for head in heads(spec, images)
    )
    return replace(
        graph, calls=calls, backbone=BACKBONE, warnings=tuple(_same_strides(spec, graph.input.shape, images))
    )


def _same_strides(spec: Spec, input: ops.Shape, levels: Mapping[str, ops.Image]) -> Iterator[Diagnostic]:
    """A warning for every level whose positions are those of another: their boxes are the same, and cost twice."""
    assert isinstance(input, ops.Image)
    first: dict[tuple[int, int], str] = {}
    for name, (_, *size) in levels.items():
        other = first.setdefault((size[0], size[1]), name)
        if other != name:
            known = "torchvision's MobileNetV3 pyramid has two such levels (pytorch/vision#5838)"
            yield Diagnostic(
                "same-stride",
                f"levels `{other}` and `{name}` have one stride, {round(input.height / size[0])}",
                _output_span(spec, name),
                notes=(
                    f"both are {ops.show(tuple(size))} for an input of {ops.show(input[1:])}: one adds no resolution",
                    *([known] if isinstance(spec.detector, FasterRcnn) else []),
                ),
                help=f"take `{name}` or `{other}` from a row of another stride",
                severity="warning",
            )


def _output_span(spec: Spec, name: str) -> Span | None:
    """Where an output is written."""
    outputs = spec.outputs
    key = (outputs.index(name),) if isinstance(outputs, tuple) else (name,) if isinstance(outputs, dict) else ()
    return spec.span("outputs", *key) if outputs is not None else spec.span("detector")


_Wanted = Mapping[Position, frozenset[str] | None]
"""The rows to lower with the parts of each that are needed, None for all of it."""


def _wanted(wires: Mapping[Position, tuple[Tap, ...]], outputs: Mapping[str, Tap]) -> dict[Position, frozenset[str]]:
    """The rows that the outputs need, with the parts of each that are needed: its result is the part named ``."""
    wanted: dict[Position, frozenset[str]] = {}
    pending = list(outputs.values())
    while pending:
        tap = pending.pop()
        here = (tap.stage, tap.row)
        if here not in wanted and here in wires:
            pending.extend(wires[here])
        wanted[here] = wanted.get(here, frozenset()) | {tap.part}
    return wanted


class _Settings:
    """A spec as rows see it: everything but the rows, comparable, so that equal settings share lowered rows."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.key = tuple([value for name, value in spec.__dict__.items() if name not in _NOT_SEEN])
        self.hash = hash(self.key)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Settings) and self.key == other.key


_NOT_SEEN = {"name", "input", "stages", "outputs", "tail", "table", "drop_path", "detector"}


class _UnknownPartsError(ValueError):
    """References to parts that the row does not have; a hint for each."""

    def __init__(self, hints: Mapping[str, str]) -> None:
        super().__init__()
        self.hints = hints


@lru_cache(maxsize=16_384)
def _subgraph(row: Block, shapes: tuple[ops.Shape, ...], settings: _Settings, parts: frozenset[str] | None) -> Subgraph:
    """The row's operations under local names, or those that these parts need; remembered, as sweeps lower the same rows
    again and again.

    Sound because a lowering reads nothing but its row, its inputs' shapes and the spec-wide settings.
    """
    net = Net(settings.spec)
    placeholders = [net.placeholder(shape) for shape in shapes]
    subgraph = verify_subgraph(net.finish(row.lower(net, *placeholders)))
    known = list(dict.fromkeys(node.name.split(".")[0] for node in subgraph.nodes if node.name))
    missing = [part for part in sorted(parts or ()) if part and subgraph.last_under(part) is None]
    if missing:
        raise _UnknownPartsError({part: did_you_mean(part, known) or one_of(known) for part in missing})
    return subgraph if parts is None else subgraph.pruned([_part(subgraph, part) for part in parts])


def _part(subgraph: Subgraph, part: str) -> Node:
    node = subgraph.last_under(part) if part else subgraph.result
    assert node is not None, part
    return node


class Value(NamedTuple):
    """A value of the graph under its full name."""

    name: str
    shape: ops.Shape


class _Lowering:
    def __init__(
        self,
        spec: Spec,
        wires: Mapping[Position, tuple[Tap, ...]],
        wanted: _Wanted,
        input: ops.Shape,
    ) -> None:
        self.spec = spec
        self.wires = wires
        self.settings = _Settings(spec)
        self.problems: list[Diagnostic] = []
        self.regions: dict[Position, Region] = {}
        self.input = Node("input", ops.Input(), (), input)
        for stage, index, row in spec.rows():
            if (stage, index) in wanted:
                self._row(stage, index, row, wanted[stage, index])

    def graph(self, outputs: Mapping[str, Tap]) -> Graph:
        if self.problems:
            raise SpecError(self.problems)
        found = {name: self._value(tap) for name, tap in outputs.items()}
        return Graph(
            self.spec.name,
            self.input,
            tuple(self.regions.values()),
            dict.fromkeys(self.spec.stages, STAGE_LABEL),
            {name: value.name for name, value in found.items() if value is not None},
            self.spec.outputs is None or isinstance(self.spec.outputs, str),
        )

    def _row(self, stage: str, index: int, row: Row, parts: frozenset[str] | None) -> None:
        assert isinstance(row, Block), row
        name = f"{stage}.{index}"
        values = [self._value(tap) for tap in self.wires[stage, index]]
        inputs = [value for value in values if value is not None]
        if len(inputs) < len(values):
            return  # what it needs has failed and is reported already
        try:
            ordered = inputs if row.from_ is None and row.ports == ("x",) else _ordered(row, inputs)
            shapes = tuple([value.shape for value in ordered])
            subgraph = _subgraph(row, shapes, self.settings, parts)
            names = tuple([value.name for value in ordered])
            init = self.spec.init.overlaid(getattr(row, "init", None))
            self.regions[stage, index] = Region(name, row.label(), subgraph, names, init, row.is_head)
        except ShapeError as error:
            message = f"row `{name}` ({row.block}): {error}"
            note = f"its input is {', '.join(ops.show(node.shape) for node in inputs)}"
            self.problems.append(Diagnostic("shape", message, self._span(row), notes=(note,)))
        except _UnknownPartsError as error:
            for part, hint in error.hints.items():
                for path in wiring.uses(self.spec, Tap(stage, index, part)):
                    message = f"row `{name}` has no part `{part}`"
                    self.problems.append(Diagnostic("unknown-reference", message, self.spec.span(*path), hint))

    def _value(self, tap: Tap) -> Value | None:
        if tap == INPUT:
            return Value(self.input.name, self.input.shape)
        region = self.regions.get((tap.stage, tap.row))
        if region is None:
            return None
        node = _part(region.subgraph, tap.part)
        if node in region.subgraph.placeholders:  # a row that passes its input on
            return Value(region.inputs[region.subgraph.placeholders.index(node)], node.shape)
        return Value(region.full(node.name), node.shape)

    def _span(self, row: Row) -> Span | None:
        """Where the row is written; where an override changed it, there."""
        path = ("stages", *row.at)
        spans = (self.spec.span(*path, name.rstrip("_")) for name in type(row).model_fields)
        changed = [span for span in spans if span and span.source.kind == "override"]
        return changed[0] if changed else self.spec.span(*path)


def _ordered(row: Block, inputs: list[Value]) -> list[Value]:
    """The inputs in the order of the block's ports, the extra reference fields' last."""
    extra = len(row.reference_fields())
    given, rest = inputs[: len(inputs) - extra], inputs[len(inputs) - extra :]
    if row.ports is None:
        if isinstance(row.from_, dict):
            raise ShapeError(f"the inputs of a `{row.block}` have no names; write `from` as a list")
        return inputs
    if isinstance(row.from_, dict):
        by_name = dict(zip(row.from_, given, strict=True))
        if set(by_name) != set(row.ports):
            raise ShapeError(f"`from` must name {' and '.join(row.ports)}, not {' and '.join(by_name)}")
        return [by_name[port] for port in row.ports] + rest
    if len(given) != len(row.ports):
        raise ShapeError(f"takes {len(row.ports)} input{'s'[: len(row.ports) != 1]}, not {len(given)}")
    return inputs
