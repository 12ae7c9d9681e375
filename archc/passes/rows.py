"""What passes share: rewriting every row."""

from __future__ import annotations

from collections.abc import Callable

from archc.document.values import FrozenDict
from archc.language.row import Row
from archc.language.schema import Spec


def map_rows(spec: Spec, rewrite: Callable[[str, int, Row], Row]) -> FrozenDict[str, tuple[Row, ...]]:
    """The stages with every row rewritten one to one."""
    return FrozenDict(
        {
            stage: tuple(rewrite(stage, index, row) for index, row in enumerate(rows))
            for stage, rows in spec.stages.items()
        }
    )
