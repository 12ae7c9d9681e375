"""For models of every kind: how validators refuse values, how messages show them, and types of common use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BeforeValidator, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from archc.document.scalars import plain_scalar

_K = TypeVar("_K")
_V = TypeVar("_V")
_Item = TypeVar("_Item")


def reject(message: str, help: str = "", id: str = "invalid-value", at: tuple[str | int, ...] = ()) -> NoReturn:
    """Raise, inside a pydantic validator, an error that becomes a diagnostic of this id, message and help.

    `at` leads from the value that is validated to the part of it that is wrong.
    """
    raise PydanticCustomError(id, "{message}", {"message": message, "help": help, "at": at})


def expect(expected: str, help: str = "", at: tuple[str | int, ...] = ()) -> NoReturn:
    """Raise, inside a pydantic validator, the error that the value must be what `expected` says."""
    raise PydanticCustomError("expected", "must be {expected}", {"expected": expected, "help": help, "at": at})


@dataclass(frozen=True, slots=True)
class Expected:
    """An annotation of a field that describes its values for messages: `must be {text}`."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Synonyms:
    """An annotation of a field: words of other libraries, and the value of the field that each stands for."""

    words: Mapping[str, str]


def show(value: object) -> str:
    """A value as it would stand in YAML, shortened, for messages."""
    if value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, Mapping):
        text = "a mapping"
    elif isinstance(value, list | tuple):
        text = f"a list of {len(value)}"
    else:
        text = shown = str(value)
        if isinstance(value, str) and (not text or not isinstance(plain_scalar(text[:40]), str)):
            shown = f'"{text}"'  # in quotes it is text, although it looks like something else
        text = f"`{shown if len(shown) <= 40 else shown[:37] + '...'}`"
    return text


class FrozenDict(dict[_K, _V]):
    """A dict that refuses changes and knows its order: two that list the same items in another order differ."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this mapping is frozen; `override` makes another document")

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse

    def __eq__(self, other: object) -> bool:
        # Stages are in order, so the order counts. A plain dict is compared as ever.
        return dict.__eq__(self, other) is True and (not isinstance(other, FrozenDict) or list(self) == list(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))

    def __reduce__(self) -> tuple[type[FrozenDict[_K, _V]], tuple[dict[_K, _V]]]:
        return type(self), (dict(self),)


Many = Annotated[tuple[_Item, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)]
"""A YAML list, kept as a tuple."""


def _parse_anything(value: object) -> Any:
    return _frozen(value) if isinstance(value, dict) else expect("a mapping")


def _frozen(value: Any, at: tuple[str | int, ...] = ()) -> Any:
    if isinstance(value, dict):
        return FrozenDict({key: _frozen(item, (*at, key)) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(_frozen(item, (*at, index)) for index, item in enumerate(value))
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return expect("a plain value", at=at)


Anything = Annotated[FrozenDict[str, Any], PlainValidator(_parse_anything), WithJsonSchema({"type": "object"})]
"""A mapping whose keys are the author's own."""
