"""What a model's annotations say about the value at a path: its models, its allowed words, its description."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Discriminator, Tag
from pydantic.fields import FieldInfo

_Mark = TypeVar("_Mark")


@dataclass(frozen=True)
class Declared:
    """An annotation taken apart: the members of its union (or the annotation alone), and its metadata."""

    members: tuple[Any, ...]
    marks: tuple[object, ...] = ()

    @classmethod
    def of(cls, annotation: Any, marks: Iterable[object] = ()) -> Declared:
        """Take an annotation apart."""
        members: list[Any] = []
        found: list[object] = list(marks)

        def visit(part: Any) -> None:
            origin = get_origin(part)
            if origin is Annotated:
                found.extend(get_args(part)[1:])
                visit(get_args(part)[0])
            elif origin in (Union, UnionType):
                for member in get_args(part):
                    visit(member)
            else:
                members.append(part)

        visit(annotation)
        return cls(tuple(members), tuple(found))

    @classmethod
    def of_field(cls, info: FieldInfo) -> Declared:
        """Take a field's annotation apart."""
        return cls.of(info.annotation, (info, *info.metadata))

    def mark(self, kind: type[_Mark]) -> _Mark | None:
        """The first annotation of a class."""
        return next((mark for mark in self.marks if isinstance(mark, kind)), None)

    @property
    def models(self) -> list[type[BaseModel]]:
        """The members that are models."""
        return [member for member in self.members if isinstance(member, type) and issubclass(member, BaseModel)]

    @property
    def words(self) -> list[str]:
        """The values that `Literal` members allow, as text."""
        return self.words_of(frozenset())

    def words_of(self, labels: frozenset[str]) -> list[str]:
        """The same, but only of the members that pydantic's labels name. If they name none: of all."""
        literals = [get_args(member) for member in self.members if get_origin(member) is Literal]
        named = [words for words in literals if f"literal[{','.join(map(repr, words))}]" in labels]
        return [str(word) for words in named or literals for word in words]

    @property
    def discriminator(self) -> str | None:
        """The key that tells the union's models apart, if they have one."""
        for mark in self.marks:
            field = mark.discriminator if isinstance(mark, FieldInfo | Discriminator) else None
            if isinstance(field, str):
                return next((keys_of(model).get(field, field) for model in self.models), field)
        return None

    @property
    def tags(self) -> list[str]:
        """The values that tell the union's models apart."""
        key = self.discriminator
        found = [word for model in self.models for word in (below(model, key).words if key else ())]
        return found or [mark.tag for mark in self.marks if isinstance(mark, Tag)]

    def step(self, part: str | int, labels: frozenset[str] = frozenset()) -> Declared | None:
        """The declaration of an item or a key of the value, if there is one."""
        if isinstance(part, str):
            model = self.model(labels)
            if model is not None and part in keys_of(model).values():
                return below(model, part)
        found = [item for member in self.members for item in _items(member, part)]
        return Declared.of(Union[tuple(found)]) if found else None  # noqa: UP007

    def model(self, labels: frozenset[str] = frozenset()) -> type[BaseModel] | None:
        """The model that a mapping is validated as. Of several, it is the one that pydantic's labels name."""
        models = self.models
        named = (model for model in models if model.__name__ in labels or labels & _own_tags(model))
        return next(named, models[0] if models else None)


def keys_of(model: type[BaseModel]) -> Mapping[str, str]:
    """From a model's field names to the keys in its documents."""
    return {name: info.alias or name for name, info in model.model_fields.items()}


def below(model: type[BaseModel], key: str) -> Declared:
    """The declaration of a key of a model."""
    info = next((info for name, info in model.model_fields.items() if key == (info.alias or name)), None)
    return Declared.of_field(info) if info is not None else Declared(())


def declared_at(model: type[BaseModel], path: Sequence[str | int], labels: frozenset[str]) -> Declared | None:
    """The declaration of the value at a path below a model.

    `labels` are the parts of pydantic's location that name members of unions.
    """
    here: Declared | None = Declared((model,))
    for part in path:
        here = here.step(part, labels) if here is not None else None
    return here


def _own_tags(model: type[BaseModel]) -> frozenset[str]:
    """The values of the key that tells a model apart from the others in its union."""
    required = [Declared.of_field(info) for info in model.model_fields.values() if info.is_required()]
    return frozenset(word for declared in required for word in declared.words)


def _items(annotation: Any, part: str | int) -> Iterator[Any]:
    """The annotation of a container's items, or of a mapping's values."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not isinstance(origin, type) or not arguments:
        return
    if issubclass(origin, Mapping):
        if isinstance(part, str) and len(arguments) == 2:
            yield arguments[1]
    elif isinstance(part, int):
        if issubclass(origin, tuple) and len(arguments) > 1 and arguments[-1] is not Ellipsis:
            yield arguments[part] if part < len(arguments) else arguments[-1]
        else:
            yield arguments[0]
