"""Changes of single rows that make a checkpoint fit: how often they repeat, what they have, how wide they are.

A greedy search: row by row and column by column, the value with which most tensors agree. Only rows that differ are
changed, only in columns that can be the reason, and only to sizes that the checkpoint has there. It helps where
somebody changed a few rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from archc.language.row import Row
from archc.weights.explaining.search import Candidate, Fit, Goal, overridden
from archc.weights.naming.match import Entry, Status

_MOST_TRIED = 150
_KNOWN_SHARE = 0.25
"""Below this share of agreeing tensors it is another network, and row by row says nothing."""

_ONE_SIDED = (Status.MISSING, Status.UNNAMED, Status.SURPLUS)


def repair(own: Candidate, goal: Goal) -> Fit | None:
    """The rows' changes with which a spec fits, if there are some."""
    return _Repair(own, goal).run()


class _Repair:
    def __init__(self, own: Candidate, goal: Goal) -> None:
        self.base, self.goal = own.spec, goal
        self.best = own
        self.changes: dict[str, Any] = {}
        self.tried = 0

    def run(self) -> Fit | None:
        if sum(1 for _ in self.best.match.having(Status.LOADED)) < _KNOWN_SHARE * len(self.goal.shapes):
            return None
        written = {row.at: row for _, _, row in self.base.rows()}
        for (stage, index), row in written.items():
            if row.repeat is not None and any(self.best.match.having(*_ONE_SIDED)):
                self._climb(f"stages.{stage}.{index}.repeat", row.repeat)
        for (stage, index), row in written.items():
            if entries := self._entries(stage, index):
                for name, values in self._columns(row, entries):
                    for value in values:
                        self._try(f"stages.{stage}.{index}.{name}", value)
        return Fit("", self.changes, self.best) if self.changes and self.best.match.complete else None

    def _try(self, key: str, value: Any) -> bool:
        """Keep a change if it helps."""
        if self.tried >= _MOST_TRIED or self.best.match.complete:
            return False
        self.tried += 1
        changes = {**self.changes, key: value}
        candidate = self.goal.candidate(overridden(self.base, changes))
        if candidate is None or _score(candidate) <= _score(self.best):
            return False
        self.changes, self.best = changes, candidate
        return True

    def _climb(self, key: str, start: int) -> None:
        for step in (1, -1):
            value = start + step
            while value > 0 and self._try(key, value):
                value += step

    def _entries(self, stage: str, index: int) -> list[Entry]:
        """The tensors that differ in the rows that a written row stands for."""
        rows = {region.name for region in self.best.graph.regions if region.source == (stage, index)}
        differing = self.best.match.having(Status.DIFFERING, Status.MISSING, Status.UNNAMED)
        found = [entry for entry in differing if entry.slot is not None and entry.slot.row in rows]
        return found or list(self.best.match.having(Status.SURPLUS))

    def _columns(self, row: Row, entries: list[Entry]) -> Iterator[tuple[str, list[Any]]]:
        """The columns that can be the reason, with the values worth trying."""
        fields = type(row).model_fields
        if "se" in fields and any(entry.status in _ONE_SIDED for entry in entries):
            yield "se", [not row.se]  # type: ignore[attr-defined]
        # What has no place here is no matter of sizes.
        shapes = [self.goal.shapes[name] for entry in entries if entry.slot is not None for name in entry.names]
        if "kernel" in fields and (windows := {shape[2:] for shape in shapes if len(shape) == 4} - {(1, 1)}):
            yield "kernel", [high if high == wide else [high, wide] for high, wide in sorted(windows)]
        sizes = {size for shape in shapes for size in shape[:2] if size > 1}
        scaled = {round(size / self.base.width_mult) for size in sizes} if row.scale != "fixed" else set()
        for name, _ in row.channel_fields():
            yield name, sorted(size for size in sizes | scaled if size > 0)


def _score(candidate: Candidate) -> tuple[int, int]:
    """The more the better: tensors that agree less those that do not, and those that agree."""
    agreeing = sum(1 for _ in candidate.match.having(Status.LOADED))
    others = sum(1 for _ in candidate.match.having(Status.MISSING, Status.DIFFERING, Status.SURPLUS))
    return agreeing - others, agreeing
