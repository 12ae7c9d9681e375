"""`partial`: the stages and rows that loading and copying leave as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from archc.document.diagnostics import did_you_mean, one_of
from archc.ir.graph import Graph
from archc.weights.error import refuse

_NONE: Mapping[str, str] = {}


def partial_rows(graph: Graph, partial: str | Sequence[str] | None, paths: Mapping[str, str] = _NONE) -> list[str]:
    """The stages and rows to leave as they are.

    Args:
        graph: the network.
        partial: names of stages and rows. In a detector's network, those on proposals begin with `roi_heads`.
        paths: the network's own names of its tensors by their keys. A module that holds whole rows can be named, too.

    Raises:
        WeightsError: there are no such stages and rows.
    """
    names = [] if partial is None else [partial] if isinstance(partial, str) else list(partial)
    rows = [*(region.name for region in graph.regions)]
    stages = [*graph.stages]
    for call in graph.calls:
        rows += [f"{call.name}.{region.name}" for region in call.graph.regions]
        stages += [call.name, *(f"{call.name}.{stage}" for stage in call.graph.stages)]
    modules = _modules(rows, paths)
    found: list[str] = []
    for name in names:
        if name in stages or name in rows:
            found.append(name)
        elif name in modules:
            found += modules[name]
        else:
            message = f"there is no stage or row `{name}` to leave as it is"
            known = {*stages, *rows, *modules}
            raise refuse("weights-partial", message, help=did_you_mean(name, known) or one_of(graph.stages))
    return found


def _modules(rows: Iterable[str], paths: Mapping[str, str]) -> dict[str, list[str]]:
    """The rows inside every module that holds nothing but whole rows, by the module's own name."""
    inside: dict[str, dict[str, set[str]]] = {}
    total: dict[str, int] = {}
    row_of = {key: row for row in rows for key in paths if key.startswith(f"{row}.")}
    for key, path in paths.items():
        row = row_of.get(key, "")
        total[row] = total.get(row, 0) + 1
        parts = path.split(".")
        for end in range(1, len(parts)):
            inside.setdefault(".".join(parts[:end]), {}).setdefault(row, set()).add(key)
    return {
        module: list(held)
        for module, held in inside.items()
        if all(len(keys) == total[row] for row, keys in held.items())
    }


def selects(partial: Iterable[str], row: str) -> bool:
    """Whether a row is one of those named, by itself, by its stage, or by its call."""
    return any(row == name or row.startswith(f"{name}.") for name in partial)
