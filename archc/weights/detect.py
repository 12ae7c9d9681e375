"""Whose names a checkpoint has."""

from __future__ import annotations

from collections.abc import Iterable

from archc.ir.graph import Graph
from archc.weights.error import refuse
from archc.weights.maps import ARCHC, AUTO, Layout, libraries, of_library
from archc.weights.naming import slots


def detect(names: Iterable[str], graph: Graph, source: str = AUTO, *, own: bool = False) -> Layout | None:
    """The layout of the library that uses such names; None where they are archc's own.

    `own` says that the file itself states that archc wrote it.

    Raises:
        WeightsError: an unknown source, or names that none, or not this one, uses.
    """
    names = list(names)
    candidates = of_library(source)
    if source == ARCHC or (source == AUTO and own):
        return None
    signed = [layout for layout in candidates if layout.signs(names)]
    if signed:
        return max(signed, key=lambda layout: (_known(graph, layout, names), -candidates.index(layout)))
    if source == AUTO and _known(graph, None, names):
        return None
    best = max(candidates, key=lambda layout: _known(graph, layout, names)) if source != AUTO else None
    if best is not None and _known(graph, best, names):
        return best
    first = ", ".join(f"`{name}`" for name in names[:3])
    whose = f"are not {source}'s" if source != AUTO else "are those of no library that archc knows"
    raise refuse(
        "weights-source",
        f"the checkpoint's names {whose}: {first}, …",
        help=f"the sources are {', '.join(libraries())}; rename the tensors to one of these first",
    )


def _known(graph: Graph, layout: Layout | None, names: list[str]) -> int:
    """How many of the names the graph has in this layout."""
    here = {name for slot in slots(graph, layout) for name in slot.names}
    return sum(name in here for name in names)
