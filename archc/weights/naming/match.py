"""A network's tensors against a checkpoint's: one status for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from archc.weights.naming.layout import Shape
from archc.weights.naming.partial import selects
from archc.weights.naming.slots import Slot


class Status(Enum):
    """What became of a tensor."""

    LOADED = "loaded"
    LEFT = "left"
    """The network's, in a row that was to be left alone."""
    UNCOUNTED = "uncounted"
    """The network's counter of batches, which the checkpoint lacks. Counters are no weights, so it becomes 0."""
    SKIPPED = "skipped"
    """The checkpoint's, for a row that was to be left alone."""
    PRUNED = "pruned"
    """The checkpoint's, for a row that the network's outputs do not need."""

    UNNAMED = "unnamed"
    """The network's: the library has no name for it."""
    MISSING = "missing"
    """The network's: the checkpoint lacks it."""
    DIFFERING = "differing"
    """It has another shape in the checkpoint."""
    SURPLUS = "surplus"
    """The checkpoint's: the network has no place for it."""

    @property
    def fits(self) -> bool:
        """Whether a checkpoint with such tensors can be loaded."""
        return self not in (Status.UNNAMED, Status.MISSING, Status.DIFFERING, Status.SURPLUS)


@dataclass(frozen=True)
class Entry:
    """One tensor of the network, of the checkpoint, or of both."""

    status: Status
    slot: Slot | None
    """The network's tensor; None where it has none."""
    names: tuple[str, ...]
    """The checkpoint's tensors: one, several that are pieces of the slot's, or none."""


@dataclass(frozen=True)
class Match:
    """Every tensor of the network in its order, then what else the checkpoint has."""

    entries: tuple[Entry, ...]

    @property
    def complete(self) -> bool:
        """Whether the checkpoint fits."""
        return all(entry.status.fits for entry in self.entries)

    def having(self, *statuses: Status) -> Iterator[Entry]:
        """The entries of these statuses."""
        return (entry for entry in self.entries if entry.status in statuses)

    def slots(self, *statuses: Status) -> list[Slot]:
        """The network's tensors of these statuses."""
        return [entry.slot for entry in self.having(*statuses) if entry.slot is not None]

    def names(self, *statuses: Status) -> list[str]:
        """The checkpoint's tensors of these statuses."""
        return [name for entry in self.having(*statuses) for name in entry.names]


def match(
    slots: Sequence[Slot],
    shapes: Mapping[str, Shape],
    partial: Sequence[str] = (),
    heads: Sequence[str] = (),
    absent: Sequence[str] = (),
) -> Match:
    """Compare a network's tensors with the shapes of a checkpoint's.

    Args:
        slots: the network's tensors, under the checkpoint's kind of names.
        shapes: the checkpoint's, by name.
        partial: the rows to leave alone.
        heads: the prefixes of all heads that the checkpoint's library has. What lies under one is for the network's
            own head, whatever its form, if that is left alone, and is not needed if the network has none.
        absent: the prefixes of heads that the network lacks, though it has others of its kind.
    """
    alone = {row for row in dict.fromkeys(slot.row for slot in slots) if selects(partial, row)}
    entries = [entry for slot in slots if (entry := _entry(slot, shapes, slot.row in alone))]
    used = {name for entry in entries for name in entry.names}
    if len(used) < len(shapes):
        rest = [name for name in shapes if name not in used]
        entries += _leftover(rest, slots, alone, heads, absent)
    return Match(tuple(entries))


def _entry(slot: Slot, shapes: Mapping[str, Shape], alone: bool) -> Entry | None:
    """The outcome for one of the network's tensors; None if there is nothing to say."""
    here = tuple([name for name in slot.names if name in shapes])
    if slot.pruned:
        return Entry(Status.SKIPPED if alone else Status.PRUNED, None, here) if here else None
    if alone:
        return Entry(Status.LEFT, slot, here)
    if not slot.names:
        return None if slot.counter else Entry(Status.UNNAMED, slot, ())
    if len(here) < len(slot.names):
        return Entry(Status.UNCOUNTED if slot.counter else Status.MISSING, slot, here)
    fits = all(shapes[name] == shape for name, shape in zip(slot.names, slot.shapes, strict=True))
    return Entry(Status.LOADED if fits else Status.DIFFERING, slot, here)


def _leftover(
    names: Iterable[str], slots: Sequence[Slot], alone: set[str], heads: Sequence[str], absent: Sequence[str]
) -> Iterator[Entry]:
    """What the checkpoint has beside the network's tensors."""
    head_rows = {slot.row for slot in slots if slot.section == "head"}
    ours, theirs = (
        {prefix for slot in slots if (slot.row in alone) == left for name in slot.names for prefix in _prefixes(name)}
        for left in (False, True)
    )
    for name in names:
        prefixes = _prefixes(name)
        in_head = any(prefix in heads for prefix in prefixes)
        # A head of another form has other names: what lies beside those of the rows left alone is theirs.
        beside = any(prefix in theirs and prefix not in ours for prefix in prefixes)
        if (in_head and not head_rows) or any(prefix in absent for prefix in prefixes):
            yield Entry(Status.PRUNED, None, (name,))
        elif beside or (in_head and head_rows <= alone):
            yield Entry(Status.SKIPPED, None, (name,))
        else:
            yield Entry(Status.SURPLUS, None, (name,))


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")[:-1]
    return [".".join(parts[: number + 1]) for number in range(len(parts))]
