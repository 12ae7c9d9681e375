"""How one kind of document differs from another: a spec, a recipe, a search space."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any, Generic, Protocol, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from archc.document.compose import Settle
from archc.document.diagnostics import Diagnostic
from archc.document.errors import from_validation
from archc.document.library import Library
from archc.document.model import DocumentModel
from archc.document.tree import Map, Path, Tree, from_plain, python_span

Model = TypeVar("Model", bound=DocumentModel)
_Part = TypeVar("_Part", bound=BaseModel)


@dataclass(frozen=True)
class Reading:
    """A document that is being read, as a `Reader` sees it."""

    tree: Map
    """The whole document, with interpolations resolved."""
    problems: list[Diagnostic]
    """The problems found so far; readers append to them."""
    memory: dict[Any, Any]
    """Readers keep results here. The document's variants see them, and share the nodes that did not change."""

    def validate(self, model: type[_Part], value: object, path: Path, owner: str) -> _Part | None:
        """The value at a path as a model. If it does not fit, its problems are noted and the result is None.

        Messages call it `owner`.
        """
        try:
            return model.model_validate(value)
        except ValidationError as error:
            self.problems.extend(from_validation(error, self.tree, path, model, owner))
            return None


class Reader(Protocol):
    """Reads the value of one top-level key that pydantic alone cannot read. It notes problems and never raises."""

    def __call__(self, node: Tree, reading: Reading) -> object:
        """The value for the model's field."""


class Normalise(Protocol):
    """Rewrites a tree between inheritance and overrides, and `again` after overrides have come in."""

    def __call__(self, tree: Map, *, again: bool) -> tuple[Map, list[Diagnostic]]:
        """The tree, and the problems in it."""


def _as_it_is(tree: Map, *, again: bool) -> tuple[Map, list[Diagnostic]]:
    return tree, []


@dataclass(frozen=True, eq=False, kw_only=True)
class Kind(Generic[Model]):
    """One kind of document. A plain model needs only the first three fields."""

    model: type[Model]
    """The model that documents are checked against. If it has a field `name`, its default is the file's name."""
    noun: str
    """What messages call a document: `spec`."""
    directory: FilePath
    """Where the bundled documents are."""
    open: frozenset[Path] = frozenset()
    """Mappings whose keys are the author's own. An override adds a new key to one of them only with `+`."""
    makes: Callable[[Path, bool], bool] = lambda path, added: False
    """Whether an override may create a mapping at this path, beside those of the model; `added` where it says `+`."""
    first: frozenset[str] = frozenset()
    """Keys whose overrides are applied before `normalise`, because they change how it reads the others."""
    normalise: Normalise = _as_it_is
    settle: Settle | None = None
    """Rewrites the tree that a file inherits before the file is laid over it."""
    readers: Mapping[str, Reader] = field(default_factory=dict)
    """The readers of top-level keys that pydantic alone cannot read."""
    lint: Callable[[Model], Iterable[Diagnostic]] = lambda model: ()
    """Warnings about a document that is valid."""

    @property
    def a(self) -> str:
        """The noun with its article."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"

    @property
    def library(self) -> Library:
        """The bundled documents."""
        return Library(self.noun, self.directory)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The top-level keys."""
        return tuple(info.alias or name for name, info in self.model.model_fields.items())

    @cached_property
    def groups(self) -> frozenset[Path]:
        """The keys whose values are mappings that may be left out: `norm`, `squeeze.rounding`, `table.defaults`."""
        return frozenset(path for path in _groups(self.model, ()) if path[0] not in self.readers)

    @cached_property
    def defaults(self) -> Map:
        """The model's own defaults, for interpolations to refer to where a document does not state a value."""
        found: dict[str, object] = {}
        for name, info in self.model.model_fields.items():
            value = None if info.is_required() else info.get_default(call_default_factory=True, validated_data={})
            if value is not None and (info.alias or name) not in self.model.consumed:
                found[info.alias or name] = _plain(value)
        tree = from_plain(found, python_span("the defaults"))
        assert isinstance(tree, Map)
        return tree


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True, by_alias=True)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _groups(model: type[BaseModel], path: Path, above: tuple[type[BaseModel], ...] = ()) -> Iterator[Path]:
    for name, info in model.model_fields.items():
        here = (*path, info.alias or name)
        for kind in _types(info.annotation):
            if issubclass(kind, BaseModel):
                yield here
                if kind not in above:  # a model may contain itself
                    yield from _groups(kind, here, (*above, model))
            elif issubclass(kind, dict):
                yield here


def _types(annotation: Any) -> Iterator[type]:
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and origin is not tuple:
        yield origin
    if not (isinstance(origin, type) and issubclass(origin, dict | tuple | list)):
        for part in get_args(annotation):
            yield from _types(part)
