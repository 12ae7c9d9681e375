"""Rows written as lists become mappings, by `table.columns`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic_core import PydanticCustomError

from archc.document.diagnostics import Diagnostic, Span, SpecError, did_you_mean, one_of
from archc.document.tree import Map, Patch, Scalar, Seq, Tree, Unread, is_index, merge
from archc.language.registry import BlockRegistry


def normalise(tree: Map, *, blocks: BlockRegistry, again: bool = False) -> tuple[Map, list[Diagnostic]]:
    """Read every row under the table: lists become mappings, and rows get the table's block and `defaults`.

    A `null` cell is a cell left out, and a stage set to `null` (an inherited one, say) is left out whole. Rows keep
    the positions of their cells. A row that the table does not explain becomes `Unread`. The loader
    refuses what is neither a list nor a mapping.

    With `again`, after overrides have come in, rows that name their block have been read and are left alone.
    """
    stages = tree.items.get("stages")
    if not isinstance(stages, Map):
        return tree, []
    reader = _Reader(tree.items.get("table"), blocks, again)
    items: dict[str, Tree] = {}
    for name, given in stages.items.items():
        rows = given
        if isinstance(rows, Scalar) and rows.value is None:
            continue
        if isinstance(rows, Patch) and isinstance(rows.row, Seq) and all(map(is_index, rows.changes.items)):
            rows = reader.patched(name, rows.row, rows.changes)
        items[name] = replace(rows, items=tuple(map(reader.row, rows.items))) if isinstance(rows, Seq) else rows
    if len(items) == len(stages.items) and all(items[name] is rows for name, rows in stages.items.items()):
        return tree, reader.problems
    return tree.with_item("stages", replace(stages, items=items)), reader.problems


class _Reader:
    def __init__(self, table: Tree | None, blocks: BlockRegistry, again: bool) -> None:
        self.problems: list[Diagnostic] = []
        self.again = again
        self.block: Tree | None = None
        self.columns: tuple[str, ...] | None = None
        self.filled: Map | None = None
        self.explained = not isinstance(table, Map | None)  # then the schema says what is wrong with the table
        if isinstance(table, Map):
            self._read_header(table, blocks)
        if again:
            self.problems.clear()  # said when the table was read first

    def _read_header(self, table: Map, blocks: BlockRegistry) -> None:
        self.block = table.items.get("block")
        keys = self._keys(blocks)
        columns = table.items.get("columns")
        if isinstance(columns, Seq):
            self.columns = self._columns(columns, keys)
        self.explained = columns is not None and self.columns is None
        filled = table.items.get("defaults")
        if isinstance(filled, Map):
            self.filled = self._filled(filled, table, keys)

    def _keys(self, blocks: BlockRegistry) -> list[str]:
        """The keys of the table's block; empty where the block is not known."""
        if not isinstance(self.block, Scalar):
            return []
        try:
            fields = blocks.get(self.block.value).model_fields
        except PydanticCustomError:
            return []  # said of the first row that needs it
        return [info.alias or name for name, info in fields.items()]

    def _columns(self, columns: Seq, keys: Sequence[str]) -> tuple[str, ...] | None:
        names: dict[str, None] = {}
        sound = True
        for item in columns.items:
            name = item.value if isinstance(item, Scalar) else None
            if not isinstance(name, str):
                sound = False  # the schema says so
            elif name in names:
                sound = False
                self._report("bad-table", f"`table.columns` names `{name}` twice", item.span)
            elif keys and name not in keys:
                sound = False
                self._unknown_key(name, keys, item.span)
            names[str(name)] = None
        if sound and self.block is None and "block" not in names:
            sound = False
            self._report(
                "bad-table",
                "`table` has columns, but no block to read them as",
                columns.span,
                help="add `block: …` to the table, or a column `block`",
            )
        return tuple(names) if sound else None

    def _filled(self, filled: Map, table: Map, keys: Sequence[str]) -> Map:
        if self.block is None:
            self._report(
                "bad-table",
                "`table.defaults` are for the rows of `table.block`, which is not given",
                table.key_span("defaults"),
                help="add `block: …` to the table",
            )
        others = [key for key in keys if key != "block"]
        wrong = {name: None for name in filled.items if keys and name not in others}
        for name in wrong:
            self._unknown_key(name, others, filled.key_span(name))
        return replace(filled, items={k: v for k, v in filled.items.items() if k not in wrong}) if wrong else filled

    def _report(self, id: str, message: str, span: Span, help: str = "") -> None:
        self.problems.append(Diagnostic(id, message, span, help=help))

    def _unknown_key(self, name: str, keys: Sequence[str], span: Span) -> None:
        assert isinstance(self.block, Scalar)
        hint = did_you_mean(name, keys)
        message = f"`{name}` is not a key of `{self.block.value}`"
        self.problems.append(Diagnostic("unknown-key", message, span, hint, help="" if hint else one_of(keys)))

    def patched(self, stage: str, rows: Seq, changes: Map) -> Tree:
        """A stage without the changes to rows that it does not have."""
        for key in changes.items:
            if int(key) >= len(rows.items):
                message = f"stage `{stage}` has no row `{key}` to change"
                inherited = f"it inherits {_counted(len(rows.items), 'row')}, counted from 0"
                self.problems.append(Diagnostic("unknown-key", message, changes.key_span(key), inherited))
                changes = changes.without(key)
        return merge(rows, changes) if changes.items else rows

    def row(self, row: Tree) -> Tree:
        """A row as a mapping, if it is one or can be read as one."""
        if isinstance(row, Patch):
            base = self.row(row.row)
            return base if isinstance(base, Unread) else merge(base, row.changes)
        if isinstance(row, Seq):
            return self._with_defaults(self._list_row(row))
        if isinstance(row, Map) and not (self.again and "block" in row.items):
            return self._with_defaults(row)
        return row

    def _list_row(self, row: Seq) -> Map:
        if self.columns is None:
            if not self.explained:
                self.explained = True
                self._report(
                    "bad-table",
                    "a row written as a list needs a header",
                    row.span,
                    help="add `table: {block: …, columns: […]}`, or write the row as a mapping",
                )
            return Unread({}, row.span)
        if len(row.items) != len(self.columns):
            self.problems.append(_wrong_length(row, self.columns))
            return Unread({}, row.span)
        return _cells(row, self.columns)

    def _with_defaults(self, row: Map) -> Map:
        block = row.items.get("block")
        if isinstance(row, Unread):
            return row
        if block is None:
            if self.block is None:
                return row  # the loader says that `block` is missing
            row = replace(row, items={"block": self.block, **row.items})
            block = self.block
        same = isinstance(block, Scalar) and isinstance(self.block, Scalar) and block.value == self.block.value
        if self.filled is None or not same:
            return row
        missing = {k: v for k, v in self.filled.items.items() if k not in row.items}
        return replace(row, items={**row.items, **missing}) if missing else row


def settled(inherited: Map, over: Map) -> Map:
    """What a file inherits, before the file `over` is laid over it: rows stay under the header they were written under.

    Where `over` states other columns, the inherited rows that are lists become mappings by the inherited columns, with
    the inherited block. Otherwise they would be read under columns that their author never saw.

    Raises:
        SpecError: an inherited row does not fit its own header.
    """
    table, stages = inherited.items.get("table"), inherited.items.get("stages")
    columns, stated = _names(table), _names(over.items.get("table"))
    if columns is None or stated is None or stated == columns or not isinstance(stages, Map):
        return inherited
    assert isinstance(table, Map)
    header = _Header(columns, table, over)
    return inherited.with_item(
        "stages", replace(stages, items={name: header.stage(rows) for name, rows in stages.items.items()})
    )


def _names(table: Tree | None) -> tuple[str, ...] | None:
    """The columns of a table, if it has any that can be read."""
    columns = table.items.get("columns") if isinstance(table, Map) else None
    if not isinstance(columns, Seq):
        return None
    names = [item.value if isinstance(item, Scalar) else None for item in columns.items]
    return tuple(map(str, names)) if all(isinstance(name, str) for name in names) else None


class _Header:
    """The header of a parent's rows, once a child has another."""

    def __init__(self, columns: tuple[str, ...], table: Map, over: Map) -> None:
        self.columns = columns
        block = table.items.get("block")
        self.keys = {} if block is None else {"block": block}
        child = over.items["table"]
        if isinstance(child, Map) and isinstance(block, Scalar):
            new = child.items.get("block", block)
            filled = table.items.get("defaults")
            if isinstance(filled, Map) and not (isinstance(new, Scalar) and new.value == block.value):
                self.keys |= filled.items  # the child's table is for another block and has no defaults for this one

    def stage(self, rows: Tree) -> Tree:
        """A stage with its rows read."""
        if isinstance(rows, Patch):
            return replace(rows, row=self.stage(rows.row))
        return replace(rows, items=tuple(map(self._row, rows.items))) if isinstance(rows, Seq) else rows

    def _row(self, row: Tree) -> Tree:
        if isinstance(row, Patch):
            return replace(row, row=self._row(row.row))
        if not isinstance(row, Seq):
            return row
        if len(row.items) != len(self.columns):
            raise SpecError([_wrong_length(row, self.columns)])
        cells = _cells(row, self.columns)
        return replace(cells, items={**self.keys, **cells.items})


def _cells(row: Seq, columns: Sequence[str]) -> Map:
    """A row written as a list, as a mapping. A `null` cell is left out."""
    cells = {
        name: cell
        for name, cell in zip(columns, row.items, strict=True)
        if not (isinstance(cell, Scalar) and cell.value is None)
    }
    return Map(cells, row.span, {name: cell.span for name, cell in cells.items()})


def _wrong_length(row: Seq, columns: Sequence[str]) -> Diagnostic:
    have, want = len(row.items), len(columns)
    return Diagnostic(
        "row-length",
        f"this row has {_counted(have, 'cell')}, the table has {_counted(want, 'column')}",
        row.span,
        "too long" if have > want else "too short",
        (f"the columns are {', '.join(columns)}",),
        "write the row as a mapping to leave keys out or to add others",
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
