"""What every row of a stage has, whatever its block is."""

from __future__ import annotations

from functools import cache
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field, PrivateAttr

from archc.document.model import Settings
from archc.language.values import ChannelRole, Positive, ReferenceRole, References, Scale

_Role = TypeVar("_Role", ChannelRole, ReferenceRole)


class Row(Settings):
    """One row of a stage. Blocks subclass it with their own columns (see `archc.blocks.Block`)."""

    written_last = ("repeat", "repeat_scale", "scale")
    states_differences = True

    attends: ClassVar[bool] = False
    """Whether the block mixes positions by attention; `dilation_policy: none_in_vit` leaves such rows undilated."""

    block: str
    """The block's registered name, or `package.module:Class`."""
    from_: References | None = Field(None, alias="from")
    """What the row reads: a stage, a row, a part of a row, or several; default: the row before it. Rows are counted
    from 0 in their stage, so a row inserted above another changes its number; a stage's name stays."""
    scale: Scale = "scaled"
    """How `width_mult` treats this row's counts."""
    repeat: Annotated[Positive | None, Field(le=1000)] = None
    """So many equal rows in place of one, the first of them with the stride; `depth_mult` scales the number."""
    repeat_scale: Literal["scaled", "fixed"] = "scaled"
    """`fixed` exempts this row's `repeat` from `depth_mult`."""

    _at: tuple[str, int] = PrivateAttr(("", 0))

    @property
    def at(self) -> tuple[str, int]:
        """The stage and index at which the row is written; passes keep it, so errors can point there."""
        private = self.__pydantic_private__  # `self._at` asks pydantic, which is slow, and every row is asked
        return private["_at"] if private else ("", 0)

    def placed(self, stage: str, index: int) -> Row:
        """The row itself, marked as written there. Only whoever has just made the row calls it."""
        self._at = stage, index
        return self

    @classmethod
    def channel_fields(cls) -> tuple[tuple[str, ChannelRole], ...]:
        """The fields that `width_mult` scales, with their roles."""
        return _fields_with(cls, ChannelRole)

    @classmethod
    def reference_fields(cls) -> tuple[str, ...]:
        """The fields that name further inputs, beside `from`."""
        return tuple(name for name, _ in _fields_with(cls, ReferenceRole))


@cache
def _fields_with(row: type[Row], role: type[_Role]) -> tuple[tuple[str, _Role], ...]:
    return tuple(
        (name, mark) for name, info in row.model_fields.items() for mark in info.metadata if isinstance(mark, role)
    )
