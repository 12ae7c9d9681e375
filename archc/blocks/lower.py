"""Spec to Graph."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from archc import passes
from archc.blocks.base import Block, Net
from archc.ir import ops
from archc.ir.graph import Fragment, Graph, Node, Region
from archc.ir.ops import ShapeError
from archc.ir.verify import verify, verify_fragment
from archc.spec import wiring
from archc.spec.diagnostics import Diagnostic, Span, SpecError, did_you_mean, one_of
from archc.spec.row import Row
from archc.spec.schema import Spec
from archc.spec.wiring import INPUT, Position, Tap

STAGE_LABEL = "Stage"


def lower(spec: Spec) -> Graph:
    """Run the passes, turn every row that an output needs into operations, and verify the result.

    Raises:
        SpecError: references that do not resolve, shapes that do not fit; every problem that can be found at once.
    """
    written, spec = spec, passes.run(spec)
    wires = wiring.inputs(spec)
    outputs = wiring.outputs(spec)
    return verify(_Lowering(spec, wires, _wanted(wires, outputs)).graph(outputs, written))


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


_NOT_SEEN = {"name", "input", "stages", "outputs", "tail", "table", "drop_path"}


class _UnknownPartError(ValueError):
    """A reference to a part that the row does not have."""


@lru_cache(maxsize=16_384)
def _fragment(row: Block, shapes: tuple[ops.Shape, ...], settings: _Settings, parts: frozenset[str]) -> Fragment:
    """The row's operations under local names, remembered: sweeps lower the same rows again and again.

    Sound because a lowering reads nothing but its row, its inputs' shapes and the spec-wide settings.
    """
    net = Net(settings.spec)
    stubs = [net.stub(shape) for shape in shapes]
    fragment = verify_fragment(net.finish(row.lower(net, *stubs)))
    return fragment.pruned([_part(fragment, part) for part in parts])


def _part(fragment: Fragment, part: str) -> Node:
    node = fragment.last_under(part) if part else fragment.result
    if node is None:
        known = sorted({node.name.split(".")[0] for node in fragment.nodes if node.name})
        raise _UnknownPartError(did_you_mean(part, known) or one_of(known))
    return node


class Value(NamedTuple):
    """A value of the graph under its full name."""

    name: str
    shape: ops.Shape


class _Lowering:
    def __init__(
        self, spec: Spec, wires: Mapping[Position, tuple[Tap, ...]], wanted: Mapping[Position, frozenset[str]]
    ) -> None:
        self.spec = spec
        self.wires = wires
        self.settings = _Settings(spec)
        self.problems: list[Diagnostic] = []
        self.regions: dict[Position, Region] = {}
        self.input = Node("input", ops.Input(), (), ops.Image(spec.input.channels, *spec.input.size))
        for stage, index, row in spec.rows():
            if (stage, index) in wanted:
                self._row(stage, index, row, wanted[stage, index])

    def graph(self, outputs: Mapping[str, Tap], written: Spec) -> Graph:
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
            self.spec.input,
            written,
        )

    def _row(self, stage: str, index: int, row: Row, parts: frozenset[str]) -> None:
        assert isinstance(row, Block), row
        name = f"{stage}.{index}"
        values = [self._value(tap) for tap in self.wires[stage, index]]
        inputs = [value for value in values if value is not None]
        if len(inputs) < len(values):
            return  # what it needs has failed and is reported already
        try:
            ordered = inputs if row.from_ is None and row.ports == ("x",) else _ordered(row, inputs)
            shapes = tuple([value.shape for value in ordered])
            fragment = _fragment(row, shapes, self.settings, parts)
            names = tuple([value.name for value in ordered])
            init = self.spec.init.overlaid(getattr(row, "init", None))
            self.regions[stage, index] = Region(name, row.label(), fragment, names, init, row.is_head)
        except ShapeError as error:
            message = f"row `{name}` ({row.block}): {error}"
            note = f"its input is {', '.join(ops.show(node.shape) for node in inputs)}"
            self.problems.append(Diagnostic("shape", message, self._span(row), notes=(note,)))
        except _UnknownPartError as error:
            unknown = sorted(part for part in parts if part)
            message = f"row `{name}` has no part `{'` or `'.join(unknown)}`"
            self.problems.append(Diagnostic("unknown-reference", message, self._span(row), str(error)))

    def _value(self, tap: Tap) -> Value | None:
        if tap == INPUT:
            return Value(self.input.name, self.input.shape)
        region = self.regions.get((tap.stage, tap.row))
        if region is None:
            return None
        node = _part(region.fragment, tap.part) if tap.part else region.fragment.result
        if node in region.fragment.stubs:  # a row that passes its input on
            return Value(region.inputs[region.fragment.stubs.index(node)], node.shape)
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
