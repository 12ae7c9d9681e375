"""Spec to Graph."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from archc import passes
from archc.blocks.base import Block, Net
from archc.ir import ops
from archc.ir.graph import Fragment, Graph, Node
from archc.ir.ops import ShapeError
from archc.ir.verify import verify
from archc.spec import wiring
from archc.spec.diagnostics import Diagnostic, SpecError, did_you_mean, one_of
from archc.spec.row import Row
from archc.spec.schema import Spec
from archc.spec.wiring import INPUT, Position, Tap

STAGE_LABEL = "Stage"
_STUB = ops.Input(ops.Image(1, 1, 1))


def lower(spec: Spec) -> Graph:
    """Run the passes, turn every row that an output needs into operations, and verify the result.

    Raises:
        SpecError: references that do not resolve, shapes that do not fit; every problem that can be found at once.
    """
    spec = passes.run(spec)
    wires = wiring.inputs(spec)
    outputs = wiring.outputs(spec)
    lowering = _Lowering(spec, wires)
    lowering.run(_needed(wires, outputs))
    return verify(lowering.graph(outputs))


def _needed(wires: Mapping[Position, tuple[Tap, ...]], outputs: Mapping[str, Tap]) -> set[Position]:
    needed: set[Position] = set()
    pending = [(tap.stage, tap.row) for tap in outputs.values()]
    while pending:
        here = pending.pop()
        if here not in needed and here in wires:
            needed.add(here)
            pending.extend((tap.stage, tap.row) for tap in wires[here])
    return needed


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


@lru_cache(maxsize=16_384)
def _fragment(row: Block, shapes: tuple[ops.Shape, ...], settings: _Settings) -> Fragment:
    """The row's operations under local names, remembered: sweeps lower the same rows again and again.

    Sound because a lowering reads nothing but its row, its inputs' shapes and the spec-wide settings.
    """
    net = Net(settings.spec)
    stubs = [Node(f"@{number}", _STUB, (), shape) for number, shape in enumerate(shapes)]
    return net.fragment(stubs, row.lower(net, *stubs))


class _Lowering:
    def __init__(self, spec: Spec, wires: Mapping[Position, tuple[Tap, ...]]) -> None:
        self.spec = spec
        self.wires = wires
        self.net = Net(spec)
        self.settings = _Settings(spec)
        self.problems: list[Diagnostic] = []
        image = ops.Image(spec.input.channels, *spec.input.size)
        self.values: dict[Position, Node] = {INPUT[:2]: self.net.add("input", ops.Input(image))}

    def run(self, needed: set[Position]) -> None:
        for stage, rows in self.spec.stages.items():
            with self.net.scope(stage, STAGE_LABEL):
                for index, row in enumerate(rows):
                    if (stage, index) in needed:
                        self._row(stage, index, row)

    def graph(self, outputs: Mapping[str, Tap]) -> Graph:
        found: dict[str, Node] = {}
        for name, tap in outputs.items():
            node = self._value(tap, ("outputs",))
            if node is not None:
                found[name] = node
        if self.problems:
            raise SpecError(self.problems)
        single = self.spec.outputs is None or isinstance(self.spec.outputs, str)
        return self.net.finish(self.spec.name, found, single=single, init=self.spec.init, contract=self.spec.input)

    def _row(self, stage: str, index: int, row: Row) -> None:
        assert isinstance(row, Block), row
        path = ("stages", *row.at)
        names = ["from"] * len(self.wires[stage, index])
        extra = row.reference_fields()
        names[len(names) - len(extra) :] = extra
        taps = zip(self.wires[stage, index], names, strict=True)
        inputs = [self._value(tap, (*path, name)) for tap, name in taps]
        if any(node is None for node in inputs):
            return  # what it needs has failed and is reported already
        try:
            ordered = _ordered(row, [node for node in inputs if node is not None], len(extra))
            fragment = _fragment(row, tuple([node.shape for node in ordered]), self.settings)
            self.values[stage, index] = self.net.insert(fragment, str(index), row.label(), ordered)
        except ShapeError as error:
            self.problems.append(
                Diagnostic(
                    "shape",
                    f"row `{stage}.{index}` ({row.block}): {error}",
                    self.spec.span(*path),
                    notes=(f"its input is {', '.join(ops.show(n.shape) for n in inputs if n)}",),
                )
            )

    def _value(self, tap: Tap, path: tuple[str | int, ...]) -> Node | None:
        whole = self.values.get((tap.stage, tap.row))
        if whole is None or not tap.part:
            return whole
        scope = f"{tap.stage}.{tap.row}"
        node = self.net.last_under(f"{scope}.{tap.part}")
        if node is None:
            parts = sorted(
                {
                    n.name.removeprefix(f"{scope}.").split(".")[0]
                    for n in self.net.nodes
                    if n.name.startswith(f"{scope}.")
                }
            )
            self.problems.append(
                Diagnostic(
                    "unknown-reference",
                    f"row `{scope}` has no part `{tap.part}`",
                    self.spec.span(*path),
                    did_you_mean(tap.part, parts) or one_of(parts),
                )
            )
        return node


def _ordered(row: Block, inputs: list[Node], extra: int) -> list[Node]:
    """The inputs in the order of the block's ports, the extra reference fields' last."""
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
