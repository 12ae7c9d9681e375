"""The difference of two specs as text."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.text import Text

from archc.analysis.diff import Change, Difference, Price, RowChange
from archc.reporting import numbers
from archc.reporting.console import line
from archc.reporting.tables import Column, Table, number

_OLD, _NEW = "red", "green"


def print_diff(console: Console, found: Difference, labels: tuple[str, str]) -> None:
    """Print what differs, then what it costs; the labels say what the two sides are."""
    console.print(line((labels[0], f"bold {_OLD}"), " → ", (labels[1], f"bold {_NEW}")))
    console.print()
    if not found:
        console.print("No setting and no row differs.")
    if found.settings:
        _print_settings(console, found.settings)
    if found.rows:
        _print_rows(console, found.rows)
    console.print()
    _prices(found).print(console)


def _print_settings(console: Console, changes: tuple[Change, ...]) -> None:
    table = Table((Column("setting", style="bold"), Column("before"), Column("after")))
    table.rows = [(change.key, _value(change.before, _OLD), _value(change.after, _NEW)) for change in changes]
    table.print(console)


def _print_rows(console: Console, rows: tuple[RowChange, ...]) -> None:
    console.print()
    table = Table((Column("row", style="bold"), Column("block"), Column("after all passes")))
    for row in rows:
        table.rows.append((_name(row), row.block, _changes(row)))
    table.print(console)


def _name(row: RowChange) -> str:
    if row.before is None or row.after is None or row.before == row.after:
        return row.after or row.before or ""
    return f"{row.before} → {row.after}"


def _changes(row: RowChange) -> Text:
    if row.before is None or row.after is None:
        sign, style = ("+", _NEW) if row.before is None else ("-", _OLD)
        values = [(change.key, change.before if change.after is None else change.after) for change in row.changes]
        shown = (f"{key} {_written(value)}" for key, value in values if key != "block")
        return Text(f"{sign} {', '.join(shown)}", style)
    text = Text()
    for change in row.changes:
        text.append(", " if text else "")
        text.append(f"{change.key} ")
        text.append_text(_value(change.before, _OLD))
        text.append(" → ")
        text.append_text(_value(change.after, _NEW))
    return text


def _value(value: Any, style: str) -> Text:
    return Text(_written(value), style)


def _written(value: Any) -> str:
    """A value as it would stand in a spec."""
    if value is None:
        return numbers.NOTHING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).replace('"', "")


def _prices(found: Difference) -> Table:
    costs = [number("params"), number("change"), number("", "dim"), number("MACs"), number("change"), number("", "dim")]
    table = Table([Column("stage", style="bold"), *costs])
    table.rows = [(stage.name, *_costs(stage.before or Price(), stage.after or Price())) for stage in found.stages]
    table.total = ("total", *_costs(*found.totals))
    return table


def _costs(before: Price, after: Price) -> list[str]:
    return [
        text
        for old, new in ((before.params, after.params), (before.macs, after.macs))
        for text in (numbers.count(new), numbers.change(new - old), numbers.relative_change(old, new))
    ]
