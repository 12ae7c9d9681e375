"""The models that documents are checked against: frozen, closed, strict, and aware of where they were written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Set
from typing import Any, ClassVar, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr

from archc.document.diagnostics import Diagnostic, Span
from archc.document.tree import Path

_Model = TypeVar("_Model", bound="DocumentModel")


class Settings(BaseModel):
    """Frozen, closed, strict: `true` is no number, a typo is no key, nan is no value."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)

    written_last: ClassVar[tuple[str, ...]] = ()
    """The keys that `to_yaml` writes last."""
    states_differences: ClassVar[bool] = False
    """Whether groups inside state only differences from settings elsewhere. `to_yaml` writes no defaults in them."""

    def replace(self, **changes: Any) -> Self:
        """A copy with these fields changed, for passes. The values are not checked: passes are trusted."""
        copy = self.__copy__()
        copy.__dict__.update(changes)
        fields, written = type(self).model_fields, copy.__pydantic_fields_set__
        for name, value in changes.items():
            # A value that is its default again counts as never written, so that a printed document stays short.
            written.discard(name) if value == fields[name].default else written.add(name)
        return copy

    def overlaid(self, own: Self | None) -> Self:
        """These settings, changed by what `own` states itself: a row's own settings, for instance."""
        return self if own is None else self.replace(**{key: getattr(own, key) for key in own.model_fields_set})

    # Equal means equal fields: pydantic's own comparison would also compare where the values came from.
    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        try:
            return hash((type(self), tuple(self.__dict__.values())))
        except TypeError:  # a column of a user's block may be a list
            return hash((type(self), hashable(list(self.__dict__.values()))))


def hashable(value: object) -> object:
    """A hashable form of a value, the same for equal values: tuples for lists, frozen sets for mappings and sets."""
    if isinstance(value, list | tuple):
        return tuple(map(hashable, value))
    if isinstance(value, Mapping):
        return frozenset((key, hashable(item)) for key, item in value.items())
    if isinstance(value, Set):
        return frozenset(value)
    try:
        hash(value)
    except TypeError:
        return type(value).__qualname__
    return value


class Provenance(Protocol):
    """Where a document's values were written, and how to make a variant of it (`archc.document.document`)."""

    def span(self, path: Path) -> Span | None:
        """Where the value at a path was written."""

    def text(self, path: Path) -> str:
        """The text that was written for a value, before interpolation; empty where it was no text."""

    def override(self, model: _Model, changes: Mapping[str, object]) -> _Model:
        """Another model from the same text, with these dotted keys changed."""


class DocumentModel(Settings):
    """The whole of a document. Make a variant with `override`.

    A field's validator must accept what it returns, because a variant is made of values that are checked already.
    """

    consumed: ClassVar[frozenset[str]] = frozenset()
    """Keys that are not needed once the document is read, such as `vars`. `to_yaml` does not write them."""
    tall: ClassVar[frozenset[str]] = frozenset()
    """Keys that `to_yaml` writes last, as blocks, with one line for each item of their lists."""

    _provenance: Provenance | None = PrivateAttr(None)
    _warnings: tuple[Diagnostic, ...] = PrivateAttr(())
    _rewritten: bool = PrivateAttr(False)

    def replace(self, **changes: Any) -> Self:
        """A copy with these fields changed, for passes. It still says where its values were written.

        It cannot be overridden: that starts from the text, so it would lose the changes.
        """
        copy = super().replace(**changes)
        copy._rewritten = True
        return copy

    def override(self, changes: Mapping[str, object] | None = None, /, **keys: object) -> Self:
        """A new document with these values changed: `spec.override({"stages.c4.0.out": 48}, width_mult=0.5)`.

        Keys are dotted paths to what exists. Interpolations that depend on a changed value follow it.

        Raises:
            SpecError: an unknown key, or a value that does not fit.
            TypeError: a pass has rewritten the document, or it was made without a text.
        """
        if self._provenance is None or self._rewritten:
            raise TypeError("only a loaded document can be overridden, not one that a pass or Python code has made")
        return self._provenance.override(self, {**(changes or {}), **keys})

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What is valid, but probably not meant."""
        return self._warnings

    def span(self, *path: str | int) -> Span | None:
        """Where a value was written: a file's line, an override, or None for a document made without a text."""
        return self._provenance.span(path) if self._provenance else None

    def text(self, *path: str | int) -> str:
        """What was written for a value, before interpolation, such as `${num_classes}`; empty where it was no text."""
        return self._provenance.text(path) if self._provenance else ""

    def to_yaml(self, full: bool = False) -> str:
        """The document as YAML that loads again as an equal one, with everything resolved.

        It states what was written, or with `full` every default, too.
        """
        from archc.document.dump import text

        return text(self, full)

    @property
    def hash(self) -> str:
        """64 hexadecimal digits that stand for everything the document says, defaults included.

        It is the SHA-256 of `to_yaml(full=True)`, so it is the same in every process and on every version of Python.
        It changes where a new version of archc adds a setting.
        """
        return hashlib.sha256(self.to_yaml(full=True).encode()).hexdigest()
