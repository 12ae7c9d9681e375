"""What differs between two specs: the settings as written, the rows after all passes, and what both cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from archc import passes
from archc.blocks.lower import lower
from archc.document.dump import values as row_values
from archc.ir.graph import Graph
from archc.language.row import Row
from archc.language.schema import Spec


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs, by its dotted key; None where a side does not have it."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that differs: its names (`c4.0`) on both sides, None where it was added or removed, and its values."""

    before: str | None
    after: str | None
    block: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters and MACs."""

    params: int = 0
    macs: int = 0


@dataclass(frozen=True, slots=True)
class StageCost:
    """What one stage costs on both sides; None where a side does not have it, or does not need it."""

    name: str
    before: Cost | None
    after: Cost | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that differs between two specs, and what every stage costs in both."""

    names: tuple[str, str]
    settings: tuple[Change, ...]
    rows: tuple[RowChange, ...]
    stages: tuple[StageCost, ...]
    totals: tuple[Cost, Cost]

    def __bool__(self) -> bool:
        return bool(self.settings or self.rows)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def diff(before: Spec, after: Spec) -> Difference:
    """Compare two loaded specs.

    Raises:
        SpecError: one of them does not compile.
    """
    graphs = lower(before), lower(after)
    return Difference(
        (before.name, after.name),
        tuple(_changes(_settings(before), _settings(after))),
        tuple(_row_changes(passes.run(before), passes.run(after))),
        tuple(_stage_costs(*graphs)),
        (Cost(graphs[0].total.params, graphs[0].total.macs), Cost(graphs[1].total.params, graphs[1].total.macs)),
    )


_NO_SETTINGS = {"stages", "table"}
"""The rows are compared on their own; how they are written down is not what they say."""


def _settings(spec: Spec) -> dict[str, Any]:
    return spec.model_dump(by_alias=True, exclude=_NO_SETTINGS)


def _row_changes(before: Spec, after: Spec) -> Iterator[RowChange]:
    for stage in _union(before.stages, after.stages):
        old, new = before.stages.get(stage, ()), after.stages.get(stage, ())
        for tag, start, end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if tag != "equal":
                yield from _pair(stage, list(enumerate(old))[start:end], list(enumerate(new))[new_start:new_end])


def _pair(stage: str, old: Sequence[tuple[int, Row]], new: Sequence[tuple[int, Row]]) -> Iterator[RowChange]:
    """Rows of a stage that differ, the first with the first; what is left over was removed or added."""
    for left, right in zip_longest(old, new):
        before, after = (row_values(side[1], full=True) if side else {} for side in (left, right))
        old_name, new_name = (f"{stage}.{side[0]}" if side else None for side in (left, right))
        block = after.get("block") or before["block"]
        # Show a key that only one side knows where it was written; its default would only be noise.
        written = {key for side in (left, right) if side for key in row_values(side[1])}
        changes = [
            change
            for change in _changes(before, after)
            if None not in (change.before, change.after) or change.key in written
        ]
        yield RowChange(old_name, new_name, block, tuple(changes))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[Change]:
    for key in _union(before, after):
        old, new = before.get(key), after.get(key)
        name = f"{prefix}{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, f"{name}.")
        elif old != new:
            yield Change(name, old, new)


def _stage_costs(before: Graph, after: Graph) -> Iterator[StageCost]:
    old, new = _costs(before), _costs(after)
    for stage in _union(old, new):
        yield StageCost(stage, old.get(stage), new.get(stage))


def _costs(graph: Graph) -> dict[str, Cost]:
    costs: dict[str, Cost] = {}
    own = [(region.stage, region.total) for region in graph.regions]
    for name, cost in [*own, *((call.name, call.total) for call in graph.calls)]:
        so_far = costs.get(name, Cost())
        costs[name] = Cost(so_far.params + cost.params, so_far.macs + cost.macs)
    return costs


def _union(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The keys of both, in the order of the second, with what only the first has after its own predecessor."""
    keys = list(after)
    previous = -1
    for key in before:
        if key in after:
            previous = keys.index(key)
        else:
            previous += 1
            keys.insert(previous, key)
    return keys
