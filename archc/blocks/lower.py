"""Spec to Graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from types import CodeType, FunctionType
from typing import NamedTuple

from archc import passes
from archc.blocks.base import Block, Net
from archc.blocks.heads import NAME, ON, proposal_heads
from archc.blocks.lint import lint
from archc.document.diagnostics import Diagnostic, Span, SpecError, did_you_mean, fail, one_of
from archc.ir import ops
from archc.ir.graph import Call, Graph, Node, Region, Subgraph
from archc.ir.ops import ShapeError
from archc.ir.verify import verify, verify_structure
from archc.language import wiring
from archc.language.detector import FasterRcnn
from archc.language.row import Row
from archc.language.schema import Spec
from archc.language.wiring import INPUT, Position, Tap

STAGE_LABEL = "Stage"

MAX_OPERATIONS = 50_000
"""Operations of a network; far beyond any, and little enough for memory."""


def lower(spec: Spec) -> Graph:
    """Run the passes, turn every row that an output needs into operations, and verify the result.

    Raises:
        SpecError: references that do not resolve, shapes that do not fit; every problem that can be found at once.
    """
    stages = dict(passes.steps(spec))
    final = stages[next(reversed(stages))]
    graph = _network(final, ops.Image(spec.input.channels, *spec.input.size), stages["repeat"])
    graph = replace(graph, preprocessing=spec.input, num_classes=spec.num_classes, detector=final.detector, spec=spec)
    graph = verify(graph if final.detector is None else _detector(final, graph))
    return replace(graph, warnings=(*graph.warnings, *lint(spec, final, graph)))


def _network(spec: Spec, input: ops.Shape, unscaled: Spec | None = None) -> Graph:
    """The rows as a graph for inputs of this shape; `unscaled` has the same rows with their widths as written."""
    wires = wiring.inputs(spec)
    outputs, levels = wiring.outputs(spec), wiring.levels(spec)
    owners = wiring.weights_owners(spec)
    wanted = _wanted(wires, owners, [*outputs.values(), *levels.values()])
    sharing = {*owners, *owners.values()}  # kept whole, as they must own the same weights
    lowering = _Lowering(spec, wires, input, unscaled)
    for stage, index, row in spec.rows():
        if (stage, index) in wanted:
            lowering.row(stage, index, row, None if (stage, index) in sharing else wanted[stage, index])
    graph = lowering.graph(outputs, levels)
    if lowering.pruned or len(lowering.regions) < len(wires):
        graph = replace(graph, whole=_whole(spec, wires, input, unscaled))
    return graph


def _whole(
    spec: Spec, wires: Mapping[Position, tuple[Tap, ...]], input: ops.Shape, unscaled: Spec | None
) -> tuple[Region, ...]:
    """Every row in full, whether an output needs it or not. One that no output needs may fail; it is left out."""
    lowering = _Lowering(spec, wires, input, unscaled)
    for stage, index, row in spec.rows():
        lowering.row(stage, index, row, None)
    return tuple(lowering.regions.values())


def _detector(spec: Spec, graph: Graph) -> Graph:
    """The graph of a detector, its levels checked; a two-stage one gets the heads that run on its proposals."""
    shapes = graph.shapes()
    levels = {name: shapes[node] for name, node in graph.levels.items()}
    images = {name: shape for name, shape in levels.items() if isinstance(shape, ops.Image)}
    graph = replace(graph, warnings=tuple(_same_strides(spec, graph.input.shape, images)))
    if not isinstance(spec.detector, FasterRcnn):
        return graph
    widths = {name: shape.channels for name, shape in images.items()}
    if len(set(widths.values())) > 1:
        names = ", ".join(f"`{name}` {width}" for name, width in widths.items())
        odd = next(name for name, width in widths.items() if width != next(iter(widths.values())))
        message = f"all levels share one head, but their channels differ: {names}"
        raise fail("shape", message, _level_span(spec, odd), help="bring them to one width with a `block: fpn` row")
    heads = proposal_heads(spec, spec.detector, tuple(images.values()))
    return replace(graph, calls=(Call(NAME, _network(heads.spec, heads.input), ON, heads.times),))


def _same_strides(spec: Spec, input: ops.Shape, levels: Mapping[str, ops.Image]) -> Iterator[Diagnostic]:
    """A warning for every level whose positions are those of another: it adds boxes and cost, but no resolution."""
    assert isinstance(input, ops.Image)
    first: dict[tuple[int, int], str] = {}
    for name, (_, *size) in levels.items():
        other = first.setdefault((size[0], size[1]), name)
        if other != name:
            known = "torchvision's MobileNetV3 pyramid has two such levels (pytorch/vision#5838)"
            yield Diagnostic(
                "same-stride",
                f"levels `{other}` and `{name}` have one stride, {round(input.height / size[0])}",
                _level_span(spec, name),
                notes=(
                    f"both are {ops.show(tuple(size))} for an input of {ops.show(input[1:])}: one adds no resolution",
                    *([known] if isinstance(spec.detector, FasterRcnn) else []),
                ),
                help=f"take `{name}` or `{other}` from a row of another stride",
                severity="warning",
            )


def _level_span(spec: Spec, name: str) -> Span | None:
    """Where a detector's level is written."""
    path = wiring.levels_path(spec)
    span, whole = spec.span(*path, name), spec.span(*path)
    if span != whole or spec.detector is None:
        return span
    number = spec.level_names.index(name)  # the levels may be written as a list
    item = spec.span(*path, number)
    return item if item != whole or spec.span() != whole else spec.span("detector")


_Wanted = Mapping[Position, frozenset[str]]
"""The rows that the outputs need, with the needed parts of each; the part named "" is the row's own output."""


def _wanted(
    wires: Mapping[Position, tuple[Tap, ...]], owners: Mapping[Position, Position], needed: list[Tap]
) -> _Wanted:
    wanted: dict[Position, frozenset[str]] = {}
    pending = list(needed)
    while pending:
        tap = pending.pop()
        here = (tap.stage, tap.row)
        if here not in wanted and here in wires:
            pending.extend(wires[here])
            if owners.get(here) in wires:
                pending.append(Tap(*owners[here]))
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


def _subgraph(row: Block, shapes: tuple[ops.Shape, ...], settings: _Settings) -> Subgraph:
    """The row's operations under local names.

    The lowerings of archc's own blocks are remembered, as sweeps lower the same rows again and again. That is sound,
    because such a lowering reads nothing but its row, its inputs' shapes and the spec-wide settings. A user's block is
    lowered anew every time: its code, or what it calls, may change within a process, as in a notebook.
    """
    lower = type(row).lower
    if isinstance(lower, FunctionType) and _is_own(type(row), lower):
        return _remembered(row, lower.__code__, shapes, settings)
    return _lowered(row, shapes, settings)


@cache
def _is_own(block: type[Block], lower: FunctionType) -> bool:
    """Whether a block and its lowering are archc's."""
    return block.__module__.startswith("archc.") and lower.__module__.startswith("archc.")


def _needed(subgraph: Subgraph, parts: frozenset[str]) -> Subgraph:
    """The operations that these parts of a row need; all of them, if they need all."""
    missing = [part for part in sorted(parts) if part and subgraph.last_under(part) is None]
    if missing:
        known = list(dict.fromkeys(node.name.split(".")[0] for node in subgraph.nodes if node.name))
        raise _UnknownPartsError({part: did_you_mean(part, known) or one_of(known) for part in missing})
    pruned = subgraph.pruned([_part(subgraph, part) for part in sorted(parts)])
    return subgraph if len(pruned.nodes) == len(subgraph.nodes) else pruned


_RESULT = frozenset({""})


@lru_cache(maxsize=16_384)
def _remembered(row: Block, code: CodeType, shapes: tuple[ops.Shape, ...], settings: _Settings) -> Subgraph:
    """`_lowered`, remembered for the code of the row's `lower`, which may be replaced in its class or in place."""
    return _lowered(row, shapes, settings)


def _lowered(row: Block, shapes: tuple[ops.Shape, ...], settings: _Settings) -> Subgraph:
    net = Net(settings.spec, row.__dict__.get("init"))
    placeholders = [net.placeholder(shape) for shape in shapes]
    return verify_structure(net.finish(row.lower(net, *placeholders)))


def _part(subgraph: Subgraph, part: str) -> Node:
    node = subgraph.last_under(part) if part else subgraph.result
    assert node is not None, part
    return node


class Value(NamedTuple):
    """A value of the graph under its full name."""

    name: str
    shape: ops.Shape


class _Lowering:
    """Rows becoming regions, one after the other; `problems` collects what is wrong with them."""

    def __init__(
        self,
        spec: Spec,
        wires: Mapping[Position, tuple[Tap, ...]],
        input: ops.Shape,
        unscaled: Spec | None,
    ) -> None:
        self.spec = spec
        self.wires = wires
        self.unscaled = unscaled
        self.settings = _Settings(spec)
        self.problems: list[Diagnostic] = []
        self.regions: dict[Position, Region] = {}
        self.operations = 0
        self.pruned = False
        """Whether some row lacks operations that no output needs."""
        self.input = Node("input", ops.Input(), (), input)

    def graph(self, outputs: Mapping[str, Tap], levels: Mapping[str, Tap]) -> Graph:
        """The graph of the rows lowered so far.

        Raises:
            SpecError: some of them have failed.
        """
        if self.problems:
            raise SpecError(dict.fromkeys(self.problems))
        return Graph(
            self.spec.name,
            self.input,
            tuple(self.regions.values()),
            dict.fromkeys(self.spec.stages, STAGE_LABEL),
            self._names(outputs),
            self.spec.outputs is None or isinstance(self.spec.outputs, str),
            self._names(levels),
        )

    def _names(self, taps: Mapping[str, Tap]) -> dict[str, str]:
        found = {name: self._value(tap) for name, tap in taps.items()}
        return {name: value.name for name, value in found.items() if value is not None}

    def row(self, stage: str, index: int, row: Row, parts: frozenset[str] | None) -> None:
        """Lower one row, or what these parts of it need."""
        assert isinstance(row, Block), row
        name = f"{stage}.{index}"
        values = [self._value(tap) for tap in self.wires[stage, index]]
        inputs = [value for value in values if value is not None]
        if len(inputs) < len(values):
            return  # what it needs has failed and is reported already
        level = row.__dict__.get("level")
        if level and not isinstance(inputs[0].shape, ops.Image):
            message = f"level `{level}` is no image but {ops.show(inputs[0].shape)}"
            help = "a detector's `outputs` are feature maps"
            self.problems.append(Diagnostic("shape", message, _level_span(self.spec, level), help=help))
            return
        try:
            ordered = inputs if row.from_ is None and row.ports == ("x",) else _ordered(row, inputs)
            shapes = tuple([value.shape for value in ordered])
            whole = _subgraph(row, shapes, self.settings)
            subgraph = whole if parts in (None, _RESULT) else _needed(whole, parts or _RESULT)
            self.pruned |= subgraph is not whole
            self.operations += len(subgraph.nodes)
            if self.operations > MAX_OPERATIONS:
                raise fail("too-large", f"the spec stands for more than {MAX_OPERATIONS:,} operations", self._span(row))
            names = tuple([value.name for value in ordered])
            self.regions[stage, index] = self._region(stage, index, row, subgraph, names)
        except ShapeError as error:
            message = f"row `{name}` ({row.block}): {error}"
            note = f"its input is {', '.join(ops.show(node.shape) for node in inputs)}"
            self.problems.append(Diagnostic("shape", message, self._span(row), notes=(note,)))
        except _UnknownPartsError as error:
            for part, hint in error.hints.items():
                for path in wiring.uses(self.spec, Tap(stage, index, part)):
                    message = f"row `{name}` has no part `{part}`"
                    self.problems.append(Diagnostic("unknown-reference", message, self.spec.span(*path), hint))

    def _region(self, stage: str, index: int, row: Block, subgraph: Subgraph, inputs: tuple[str, ...]) -> Region:
        columns = row.__dict__  # faster than `getattr`, which pydantic answers slowly for what is not there
        shares = columns.get("shares")
        if shares is not None and ((stage, shares) not in self.regions or self.regions[stage, shares].shares):
            raise ShapeError(f"it cannot share the weights of `{stage}.{shares}`: that is no row above with its own")
        return Region(
            stage,
            index,
            row.label(),
            subgraph,
            inputs,
            row.at,
            self._width(stage, index),
            row.is_head,
            columns.get("level", ""),
            "" if shares is None else f"{stage}.{shares}",
        )

    def _width(self, stage: str, index: int) -> str:
        """The row's output width as written; empty where it states none."""
        return str(self.unscaled.stages[stage][index].__dict__.get("out") or "") if self.unscaled is not None else ""

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
        if row.at[0] not in self.spec.stages:
            return self.spec.span("detector")  # a row that the `heads` pass wrote
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
