"""The difference of two specs as text."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.text import Text

from archc.analysis.diff import Change, Cost, Difference, RowChange
from archc.reporting import numbers
from archc.reporting.console import line
from archc.reporting.tables import Column, Table, number

_OLD, _NEW = "red", "green"


def print_diff(console: Console, found: Difference, labels: tuple[str, str]) -> None:
    """Print the differences, then the costs. The labels name the two sides."""
    console.print(line((labels[0], f"bold {_OLD}"), " → ", (labels[1], f"bold {_NEW}")))
    if not found:
        console.print()
        console.print("No setting and no row differs.")
    tables = [_settings(found.settings)] if found.settings else []
    tables += [_rows(found.rows)] if found.rows else []
    for table in (*tables, _cost_table(found)):
        console.print()
        table.print(console)


def _settings(changes: tuple[Change, ...]) -> Table:
    table = Table((Column("setting", style="bold"), Column("before"), Column("after")))
    table.rows = [(change.key, _value(change.before, _OLD), _value(change.after, _NEW)) for change in changes]
    return table


def _rows(rows: tuple[RowChange, ...]) -> Table:
    table = Table((Column("row", style="bold"), Column("block"), Column("after all passes")))
    table.rows = [(_name(row), _block(row), _changes(row)) for row in rows]
    return table


def _name(row: RowChange) -> str:
    if row.before is None or row.after is None or row.before == row.after:
        return row.after or row.before or ""
    return f"{row.before} → {row.after}"


def _block(row: RowChange) -> Text:
    if row.before is None or row.after is None:
        sign, style = ("+", _NEW) if row.before is None else ("-", _OLD)
        return line((f"{sign} {row.block}", style))
    changed = [change for change in row.changes if change.key == "block"]
    return _arrow(changed[0]) if changed else line(row.block)


def _changes(row: RowChange) -> Text:
    """`out 40 → 32, +bias true`; the block has its own column."""
    return Text(", ").join(_change(change) for change in row.changes if change.key != "block")


def _change(change: Change) -> Text:
    if change.before is None:
        return line((f"+{change.key} {_written(change.after)}", _NEW))
    if change.after is None:
        return line((f"-{change.key} {_written(change.before)}", _OLD))
    return line(f"{change.key} ").append_text(_arrow(change))


def _arrow(change: Change) -> Text:
    return Text.assemble(_value(change.before, _OLD), " → ", _value(change.after, _NEW))


def _value(value: Any, style: str) -> Text:
    return line((_written(value), style))


def _written(value: Any) -> str:
    """A value, written as in a spec."""
    if value is None:
        return numbers.NOTHING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).replace('"', "")


def _cost_table(found: Difference) -> Table:
    costs = [number("params"), number("change"), number("", "dim"), number("MACs"), number("change"), number("", "dim")]
    table = Table([Column("stage", style="bold"), *costs])
    table.rows = [(stage.name, *_costs(stage.before or Cost(), stage.after or Cost())) for stage in found.stages]
    table.total = ("total", *_costs(*found.totals))
    return table


def _costs(before: Cost, after: Cost) -> list[str]:
    return [
        text
        for old, new in ((before.params, after.params), (before.macs, after.macs))
        for text in (numbers.count(new), numbers.change(new - old), numbers.relative_change(old, new))
    ]
