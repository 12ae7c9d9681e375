"""Tables as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich import table as rich_table
from rich.box import Box
from rich.console import Console
from rich.text import Text

from archc.reporting.console import line

Cell = str | Text

_RULES_ONLY = Box("    \n    \n────\n    \n────\n────\n    \n    \n")
"""A rule below the header and above the total; nothing else."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its header, and the alignment and style of its cells."""

    title: str
    align: Literal["left", "right"] = "left"
    style: str = ""


def number(title: str, style: str = "") -> Column:
    """A column of numbers."""
    return Column(title, "right", style)


@dataclass(slots=True)
class Table:
    """Rows under columns. `total` is a last row below a rule."""

    columns: Sequence[Column]
    rows: list[Sequence[Cell]] = field(default_factory=list)
    total: Sequence[Cell] | None = None

    def print(self, console: Console) -> None:
        """Print the table as wide as its cells need, whatever the console's width."""
        drawn = rich_table.Table(
            box=_RULES_ONLY,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),
            header_style="dim",
            border_style="dim",
        )
        for column in self.columns:
            drawn.add_column(_text(column.title), justify=column.align, style=column.style, no_wrap=True)
        for row in self.rows:
            drawn.add_row(*map(_text, row))
        if self.total is not None:
            drawn.add_section()
            drawn.add_row(*map(_text, self.total), style="bold")
        with console.capture() as captured:
            console.print(drawn)
        # Rich pads the last column; spaces at the end of a line are a nuisance in diffs and copies.
        console.out("\n".join(row.rstrip() for row in captured.get().splitlines()), highlight=False)


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else line(cell)


def facts(console: Console, pairs: Sequence[tuple[str, str]]) -> None:
    """Print names and their values in two columns without a header."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        console.print(line((f"{name:<{width}}  ", "dim"), value))
