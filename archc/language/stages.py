"""How a spec's `stages` are read: every row as a model of its own block."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

from archc.document.diagnostics import Diagnostic
from archc.document.errors import unplaced
from archc.document.kind import Reading
from archc.document.tree import Map, Patch, Scalar, Seq, Tree, Unread, locate, plain
from archc.document.values import FrozenDict, show
from archc.language.registry import BlockRegistry
from archc.language.row import Row
from archc.language.schema import STAGE_NAME


class StageReader:
    """Reads `stages` with the blocks of a registry."""

    def __init__(self, blocks: BlockRegistry) -> None:
        self.blocks = blocks

    def __call__(self, node: Tree, reading: Reading) -> object:
        """Stage names to rows; a row that does not fit is a placeholder, and its problems are noted."""
        if not isinstance(node, Map):
            return plain(node)
        result: dict[str, tuple[Row, ...]] = {}
        for name, rows in node.items.items():
            if not STAGE_NAME.fullmatch(name) or name == "input":
                help = "`input` is the network's own" if name == "input" else "use letters, digits and `_`"
                message = f"`{name}` cannot name a stage"
                reading.problems.append(Diagnostic("invalid-value", message, node.key_span(name), help=help))
            if not isinstance(rows, Seq) or all(isinstance(row, Scalar) for row in rows.items):
                reading.problems.append(_not_rows(name, rows, node))
                result[name] = ()
                continue
            result[name] = tuple(self._row(name, index, row, reading) for index, row in enumerate(rows.items))
        return FrozenDict(result)

    def _row(self, stage: str, index: int, node: Tree, reading: Reading) -> Row:
        # A variant of a spec shares the nodes of the rows that did not change, so these are not checked again.
        key = (stage, index, id(node))
        if key in reading.memory:
            kept: Row = reading.memory[key][1]
            return kept
        row = self._checked(stage, index, node, reading)
        if row is None:
            return Row.model_construct(block="")
        reading.memory[key] = node, row.placed(stage, index)  # the node is kept, so that its `id` stays its own
        return row

    def _checked(self, stage: str, index: int, node: Tree, reading: Reading) -> Row | None:
        values = plain(node)
        if isinstance(node, Unread):
            return None
        if not isinstance(values, dict):
            help = f"write `{{block: {values}}}`" if isinstance(values, str) else ""
            message = f"a row is a list or a mapping, not {show(values)}"
            reading.problems.append(Diagnostic("invalid-value", message, node.span, help=help))
            return None
        if "block" not in values:
            message, help = "this row names no `block`", "or name one in `table.block`"
            reading.problems.append(Diagnostic("missing-key", message, node.span, help=help))
            return None
        try:
            block = self.blocks.get(values["block"])
        except PydanticCustomError as error:
            reading.problems.append(unplaced(error, locate(node, ("block",))))
            return None
        return reading.validate(block, values, ("stages", stage, index), f"`{values['block']}`")


def _not_rows(stage: str, node: Tree, stages: Map) -> Diagnostic:
    """The problem of a stage that is not a list of rows."""
    span = node.span if isinstance(node, Seq | Scalar) else stages.key_span(stage)
    help = f"write `{stage}:` and below it one `- ` line a row"
    if isinstance(node, Map | Patch):
        help = "write `- ` before each row; to change an inherited row, write its number: `{0: {out: 48}}`"
    elif isinstance(node, Seq):
        help = "one row is a list itself: `[[3, 16]]`, or a mapping: `[{block: conv, out: 16}]`"
        if not node.items:
            help = "remove it, or write `null` to leave an inherited stage out"
    return Diagnostic("invalid-value", f"stage `{stage}` must be a list of rows", span, help=help)
