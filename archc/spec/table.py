"""Rows written as lists become mappings, by `table.columns`."""

from __future__ import annotations

from dataclasses import replace

from archc.spec.diagnostics import Diagnostic
from archc.spec.tree import Map, Patch, Scalar, Seq, Tree, merge


def normalise(tree: Map, *, defaults: bool = True) -> tuple[Map, list[Diagnostic]]:
    """Read every row under the table: lists become mappings, and rows get the table's block and `defaults`.

    A `null` cell is a cell left out, and a stage set to `null` (an inherited one, say) is left out whole. Rows keep
    the positions of their cells. What is neither a list nor a mapping is left for the schema to refuse. With
    `defaults` false, rows that name their block are taken as read before, and left alone.
    """
    stages = tree.items.get("stages")
    if not isinstance(stages, Map):
        return tree, []
    reader = _Reader(tree.items.get("table"), defaults)
    items: dict[str, Tree] = {}
    for name, rows in stages.items.items():
        if isinstance(rows, Scalar) and rows.value is None:
            continue
        items[name] = replace(rows, items=tuple(map(reader.row, rows.items))) if isinstance(rows, Seq) else rows
    if all(items.get(name) is rows for name, rows in stages.items.items()):
        return tree, reader.problems
    return tree.with_item("stages", replace(stages, items=items)), reader.problems


class _Reader:
    def __init__(self, table: Tree | None, defaults: bool) -> None:
        self.problems: list[Diagnostic] = []
        self.block: Tree | None = None
        self.columns: tuple[str, ...] | None = None
        self.filled: Map | None = None
        self.reread = not defaults
        if isinstance(table, Map):
            self.block = table.items.get("block")
            columns = table.items.get("columns")
            if isinstance(columns, Seq):
                self.columns = self._columns(columns)
            filled = table.items.get("defaults")
            self.filled = filled if isinstance(filled, Map) else None

    def _columns(self, columns: Seq) -> tuple[str, ...]:
        names: list[str] = []
        for item in columns.items:
            name = str(item.value) if isinstance(item, Scalar) else ""
            if name in names:
                self.problems.append(Diagnostic("bad-table", f"`table.columns` names `{name}` twice", item.span))
            names.append(name)
        return tuple(names)

    def row(self, row: Tree) -> Tree:
        if isinstance(row, Patch):
            return merge(self.row(row.row), row.changes)
        if isinstance(row, Seq):
            return self._with_defaults(self._list_row(row))
        if isinstance(row, Map):
            if "block" in row.items and self.reread:
                return row
            return self._with_defaults(row)
        return row

    def _list_row(self, row: Seq) -> Map:
        if self.columns is None:
            self.problems.append(
                Diagnostic(
                    "bad-table",
                    "a row written as a list needs a header",
                    row.span,
                    help="add `table: {block: …, columns: […]}`, or write the row as a mapping",
                )
            )
            return Map({"block": Scalar("conv", row.span), "out": Scalar(1, row.span)}, row.span)
        if len(row.items) != len(self.columns):
            have, want = len(row.items), len(self.columns)
            self.problems.append(
                Diagnostic(
                    "row-length",
                    f"this row has {have} cell{'s' * (have != 1)}, the table has {want} columns",
                    row.span,
                    "too long" if have > want else "too short",
                    (f"the columns are {', '.join(self.columns)}",),
                    "write the row as a mapping to leave keys out or to add others",
                )
            )
        cells = {
            name: cell
            for name, cell in zip(self.columns, row.items, strict=False)
            if not (isinstance(cell, Scalar) and cell.value is None)
        }
        return Map(cells, row.span, {name: cell.span for name, cell in cells.items()})

    def _with_defaults(self, row: Map) -> Map:
        block = row.items.get("block")
        if block is None:
            if self.block is None:
                return row  # the schema says that `block` is missing
            row = replace(row, items={"block": self.block, **row.items})
            block = self.block
        same = isinstance(block, Scalar) and isinstance(self.block, Scalar) and block.value == self.block.value
        if self.filled is None or not same:
            return row
        missing = {k: v for k, v in self.filled.items.items() if k not in row.items}
        return replace(row, items={**row.items, **missing}) if missing else row
