"""`partial`: the stages and rows that loading and copying leave as they are."""

from __future__ import annotations

from collections.abc import Sequence

from archc.document.diagnostics import did_you_mean, one_of
from archc.ir.graph import Graph
from archc.weights.error import refuse


def partial_rows(graph: Graph, partial: str | Sequence[str] | None) -> list[str]:
    """The stages and rows to leave as they are.

    Raises:
        WeightsError: there are no such ones.
    """
    names = [] if partial is None else [partial] if isinstance(partial, str) else list(partial)
    known = {*graph.groups, *(region.name for region in graph.regions)}
    for call in graph.calls:
        parts = call.name.split(".")
        known |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
        known |= {f"{call.name}.{name}" for name in (*call.graph.groups, *(r.name for r in call.graph.regions))}
    for name in names:
        if name not in known:
            message = f"there is no stage or row `{name}` to leave as it is"
            raise refuse("weights-partial", message, help=did_you_mean(name, known) or one_of(graph.groups))
    return names


def selects(partial: Sequence[str], row: str) -> bool:
    """Whether a row is one of those named, by itself, by its stage, or by where a detector keeps it."""
    return any(row == name or row.startswith(f"{name}.") for name in partial)
