"""A network's slots against a checkpoint's shapes: what fits, what differs, what is left over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from archc.weights.layout import Shape
from archc.weights.naming import Slot
from archc.weights.partial import selects


@dataclass
class Match:
    """The outcome. Every slot and every name of the checkpoint is in exactly one list, counters that lack apart."""

    found: list[Slot] = field(default_factory=list)
    pruned: list[str] = field(default_factory=list)
    """In the checkpoint, and not needed by the network's outputs."""
    left: list[Slot] = field(default_factory=list)
    """Of rows that were to be left alone."""
    skipped: list[str] = field(default_factory=list)
    """Names of the checkpoint that belong to such rows."""
    uncounted: list[Slot] = field(default_factory=list)
    """Counters of batch norms that the checkpoint lacks."""
    unnamed: list[Slot] = field(default_factory=list)
    """For which the library has no name."""
    missing: list[Slot] = field(default_factory=list)
    """Which the checkpoint lacks."""
    differing: list[Slot] = field(default_factory=list)
    """Which have another shape there."""
    surplus: list[str] = field(default_factory=list)
    """Names of the checkpoint that the network has no place for."""

    @property
    def complete(self) -> bool:
        """Whether everything is accounted for."""
        return not (self.unnamed or self.missing or self.differing or self.surplus)


def match(
    slots: Sequence[Slot], shapes: Mapping[str, Shape], partial: Sequence[str] = (), heads: Sequence[str] = ()
) -> Match:
    """Compare; `partial` names stages and rows to leave alone.

    `heads` are the prefixes of all heads that the checkpoint's library has. They are those of the network's own head,
    whatever its form, where that is left alone; and not needed, where it has none.
    """
    result = Match()
    used: set[str] = set()
    ours: set[str] = set()
    theirs: set[str] = set()
    for slot in slots:
        alone = selects(partial, slot.row)
        here = [name for name in slot.names if name in shapes]
        if alone:
            result.left += [] if slot.pruned else [slot]
            result.skipped += here
            used.update(here)
            theirs.update(prefix for name in slot.names for prefix in _prefixes(name))
            continue
        used.update(here)
        ours.update(prefix for name in slot.names for prefix in _prefixes(name))
        if slot.pruned:
            result.pruned += here
        elif not slot.names:
            result.unnamed += [] if slot.counter else [slot]
        elif len(here) < len(slot.names):
            (result.uncounted if slot.counter else result.missing).append(slot)
        elif any(shapes[name] != shape for name, shape in zip(slot.names, slot.shapes, strict=True)):
            result.differing.append(slot)
        else:
            result.found.append(slot)
    head_rows = {slot.row for slot in slots if slot.part == "head"}
    headless = not head_rows
    head_alone = all(selects(partial, row) for row in head_rows)
    for name in shapes:
        if name in used:
            continue
        prefixes = _prefixes(name)
        in_head = any(prefix in heads for prefix in prefixes)
        # A head of another form has other names: what lies beside those of the rows left alone is theirs.
        beside = any(prefix in theirs and prefix not in ours for prefix in prefixes)
        if in_head and headless:
            result.pruned.append(name)
        elif beside or (in_head and head_alone):
            result.skipped.append(name)
        else:
            result.surplus.append(name)
    return result


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")[:-1]
    return [".".join(parts[: number + 1]) for number in range(len(parts))]
