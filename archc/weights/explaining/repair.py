"""Changes of single rows that make a checkpoint fit: how often they repeat, what they have, how wide they are.

A greedy search: one row after the other, one column after the other, the value that lets most tensors agree. It helps
where somebody changed a few rows; what it returns is checked as everything else is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from archc.language.row import Row
from archc.language.schema import Spec
from archc.weights.explain import Fit, Goal, lowered, overridden
from archc.weights.match import Match

_KERNELS = (1, 3, 5, 7)
_MOST_TRIED = 1500
_KNOWN_SHARE = 0.25
"""Below this share of agreeing tensors it is another network, and row by row says nothing."""


def repair(spec: Spec, goal: Goal) -> Fit | None:
    """The rows' changes with which the spec fits, if there are some."""
    return _Repair(spec, goal).run()


class _Repair:
    def __init__(self, spec: Spec, goal: Goal) -> None:
        self.base, self.goal = spec, goal
        self.changes: dict[str, Any] = {}
        self.spec = spec
        self.tried = 0
        self.score = self._score(spec)

    def run(self) -> Fit | None:
        if self.score is None or self.score[1] < _KNOWN_SHARE * len(self.goal.shapes):
            return None
        places = {row.at: row for _, _, row in self.base.rows()}
        for (stage, index), row in places.items():
            if row.repeat is not None:
                self._climb(f"stages.{stage}.{index}.repeat", row.repeat)
        for (stage, index), row in places.items():
            if self._differs(stage, index):
                for name, values in self._columns(row):
                    self._choose(f"stages.{stage}.{index}.{name}", values)
        if not self.changes or not self.goal.reached(self.spec):
            return None
        return Fit("", self.changes, self.spec)

    def _score(self, spec: Spec | None) -> tuple[int, int] | None:
        """The more the better: tensors that agree less those that do not, and those that agree."""
        self.tried += 1
        graph = lowered(spec)
        if graph is None:
            return None
        found = self.goal.match(graph)
        return len(found.found) - len(found.missing) - len(found.differing) - len(found.surplus), len(found.found)

    def _try(self, key: str, value: Any) -> bool:
        """Keep a change if it helps."""
        if self.tried >= _MOST_TRIED:
            return False
        changes = {**self.changes, key: value}
        spec = overridden(self.base, changes)
        score = self._score(spec)
        if spec is None or score is None or (self.score is not None and score <= self.score):
            return False
        self.changes, self.spec, self.score = changes, spec, score
        return True

    def _climb(self, key: str, start: int) -> None:
        for step in (1, -1):
            value = start + step
            while value > 0 and self._try(key, value):
                value += step

    def _choose(self, key: str, values: list[Any]) -> None:
        for value in values:
            self._try(key, value)

    def _match(self) -> Match | None:
        graph = lowered(self.spec)
        return self.goal.match(graph) if graph is not None else None

    def _differs(self, stage: str, index: int) -> bool:
        found = self._match()
        rows = {slot.row for slot in (*found.differing, *found.missing)} if found else set()
        return bool(rows & set(self._rows(stage, index))) or bool(found and found.surplus)

    def _rows(self, stage: str, index: int) -> Iterator[str]:
        """The rows that a written row stands for."""
        from archc import passes

        for name, number, row in passes.run(self.spec, after="repeat").rows():
            if row.at == (stage, index):
                yield f"{name}.{number}"

    def _columns(self, row: Row) -> Iterator[tuple[str, list[Any]]]:
        """The columns that shapes can show, with the values worth trying."""
        fields = type(row).model_fields
        if "se" in fields:
            yield "se", [not row.se]  # type: ignore[attr-defined]
        if "kernel" in fields:
            yield "kernel", list(_KERNELS)
        widths = self._widths(row)
        for name, _ in row.channel_fields():
            yield name, widths

    def _widths(self, row: Row) -> list[int]:
        """Every channel count that the checkpoint has in this row, and what `width_mult` makes of it."""
        graph, rows = lowered(self.spec), set(self._rows(*row.at))
        if graph is None:
            return []
        names = [name for slot in self.goal.slots(graph) if slot.row in rows for name in slot.names]
        sizes = {size for name in names for size in self.goal.shapes.get(name, ())[:2]}
        scaled = {round(size / self.base.width_mult) for size in sizes} if row.scale != "fixed" else set()
        return sorted(size for size in sizes | scaled if size > 0)
