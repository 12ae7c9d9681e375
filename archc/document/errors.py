"""Pydantic's validation errors as diagnostics at the place in the text, in the words of a spec's author."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from archc.document.diagnostics import Diagnostic, Span, did_you_mean, one_of
from archc.document.tree import Path, Tree, find, locate, plain
from archc.document.yaml import plain_scalar
from archc.language.values import Expected, show

_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
"""The value is of another kind altogether; in a union, another member may have fitted better."""
_RANGES = {
    "finite_number": "a finite number",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "string_too_short": "text, and not empty",
    "string_too_long": "text of at most {max_length} characters",
    "int_parsing_size": "a number of a sensible size",
}
_OTHER_WORDS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_OTHER_NAMES = {
    "swish": "silu",
    "hswish": "hardswish",
    "h_swish": "hardswish",
    "hard_swish": "hardswish",
    "hsigmoid": "hardsigmoid",
    "h_sigmoid": "hardsigmoid",
    "hard_sigmoid": "hardsigmoid",
    "identity": "none",
    "linear": "none",
    "None": "none",
    "null": "none",
}


def from_validation(
    error: ValidationError, tree: Tree, base: Path, model: type[BaseModel], owner: str = "a spec"
) -> list[Diagnostic]:
    """One diagnostic per problem that pydantic found in the value at `base`, which was validated as `model`."""
    facts = [_Fact(details, tree, base, model) for details in error.errors(include_url=False)]
    groups: dict[Path, list[_Fact]] = {}
    for fact in facts:
        if not any(fact.yields_to(other) for other in facts):
            groups.setdefault(fact.place, []).append(fact)
    return [_diagnostic(group, owner) for group in groups.values()]


def unplaced(error: PydanticCustomError, span: Span) -> Diagnostic:
    """A diagnostic from an error that a validator raised outside of pydantic."""
    return Diagnostic(error.type, error.message(), span, *_hint(str((error.context or {}).get("help", ""))))


def _hint(text: str) -> tuple[str, tuple[str, ...], str]:
    """A hint as a diagnostic's label, notes and help: suggestions stand under the caret, the rest below."""
    return (text, (), "") if text.startswith("did you mean") else ("", (), text)


@dataclass
class _Fact:
    """One of pydantic's errors, with the place in the document that it is about."""

    details: ErrorDetails
    tree: Tree
    base: Path
    model: type[BaseModel]

    def __post_init__(self) -> None:
        self.kind = self.details["type"]
        self.context: dict[str, Any] = self.details.get("ctx", {})
        self.path = (*self._real_path(), *self.context.get("at", ()))
        if self.kind == "union_tag_invalid":
            self.path = (*self.path, str(self.context["discriminator"]).strip("'"))
        missing: Path = (self.details["loc"][-1],) if self.kind == "missing" else ()
        if self.kind == "union_tag_not_found":
            missing = (str(self.context["discriminator"]).strip("'"),)
        self.place = (*self.path, *missing)

    def _real_path(self) -> Path:
        """Pydantic's location without the labels it adds for union members, which are no keys of the document."""
        path = self.base
        for part in self.details["loc"]:
            if find(self.tree, (*path, part)) is not None:
                path = (*path, part)
        return path

    @property
    def labels(self) -> frozenset[str]:
        """The labels that pydantic adds to its location: which members of unions the value was validated as."""
        return frozenset(str(part) for part in self.details["loc"]) - {str(part) for part in self.path}

    @property
    def mistyped(self) -> bool:
        return self.kind in _TYPES or self.kind in ("literal_error", "expected")

    def yields_to(self, other: _Fact) -> bool:
        """Whether another member of the same union came further, so that this one's complaint says nothing."""
        if not self.mistyped or self is other:
            return False
        if other.place == self.place:
            return not other.mistyped
        return other.place[: len(self.place)] == self.place

    @property
    def span(self) -> Span:
        return locate(self.tree, self.path, key=self.kind == "extra_forbidden")

    @property
    def value(self) -> object:
        """What is written, which a validator may have changed before it was refused."""
        node = find(self.tree, self.path)
        return self.details["input"] if node is None else plain(node)

    @property
    def name(self) -> str:
        """What a message calls the value."""
        if self.path == self.base:
            return ""
        last = self.path[-1]
        return f"an item of `{self.path[-2]}`" if isinstance(last, int) else f"`{last}`"

    def field(self) -> FieldInfo | None:
        return _field_at(self.model, self.path[len(self.base) :], self.labels)

    def model_at(self, path: Path) -> type[BaseModel] | None:
        """The model that the mapping at a path of the document was validated as."""
        return _model_at(self.model, path[len(self.base) :], self.labels)


def _diagnostic(facts: list[_Fact], owner: str) -> Diagnostic:
    """The diagnostic for what was found at one place: one fact, or the unanimous refusal of a union's members."""
    fact = facts[0]
    kind, context, span = fact.kind, fact.context, fact.span
    inside = len(fact.place) > len(fact.base) + 1
    holder = f"`{fact.place[-2]}`" if inside else owner
    if kind == "extra_forbidden":
        key = str(fact.path[-1])
        target = fact.model_at(fact.path[:-1])
        keys = [info.alias or name for name, info in target.model_fields.items()] if target else []
        hint = did_you_mean(key, keys) or one_of(keys)
        return Diagnostic("unknown-key", f"`{key}` is not a key of {holder}", span, *_hint(hint))
    if kind in ("missing", "union_tag_not_found"):
        return Diagnostic("missing-key", f"{holder} needs `{fact.place[-1]}`", span)
    if kind == "union_tag_invalid":
        tags = re.findall(r"'([^']*)'", str(context["expected_tags"]))
        hint = did_you_mean(fact.value, tags) or one_of(tags)
        return Diagnostic("invalid-value", f"{fact.name} cannot be {show(fact.value)}", span, *_hint(hint))
    if kind != "expected" and "message" in context:
        return Diagnostic(kind, str(context["message"]), span, *_hint(str(context.get("help", ""))))
    if not fact.mistyped:
        wording = _RANGES.get(kind)
        said = fact.details["msg"]
        if own := _expected(fact.field()) if kind == "string_pattern_mismatch" else None:
            wording = own
        limits = {key: _number(limit) for key, limit in context.items()}
        message = f"must be {wording.format(**limits)}" if wording else said[:1].lower() + said[1:]
        return Diagnostic("invalid-value", f"{fact.name} {message}, not {show(fact.value)}".lstrip(), span)
    return _mistyped(facts)


def _mistyped(facts: list[_Fact]) -> Diagnostic:
    fact, value = facts[0], facts[0].value
    options = [option for other in facts if other.kind == "literal_error" for option in _options(other.context)]
    stated = [str(other.context["expected"]) for other in facts if other.kind == "expected"]
    types = [_TYPES[other.kind] for other in facts if other.kind in _TYPES]
    hint = next((str(other.context["help"]) for other in facts if other.context.get("help")), "")
    whole = isinstance(fact.path[-1], str) if fact.path else True
    expected = _expected(fact.field()) if whole else None
    if options and not (types or stated):
        synonym = _OTHER_NAMES.get(str(value), "none" if value is None else "")
        hint = hint or (f"did you mean `{synonym}`?" if synonym in options else "")
        hint = hint or did_you_mean(value, options) or one_of(options)
        return Diagnostic("invalid-value", f"{fact.name} cannot be {show(value)}".lstrip(), fact.span, *_hint(hint))
    hint = hint or did_you_mean(value, options) or _how_to_write(value, types, fact if expected is None else None)
    if expected is None:
        expected = _or(dict.fromkeys([*stated, *types, *(f"`{option}`" for option in options)]))
    message = f"{fact.name} must be {expected}, not {show(value)}".lstrip()
    return Diagnostic("invalid-value", message, fact.span, *_hint(hint))


def _how_to_write(value: object, types: list[str], fact: _Fact | None) -> str:
    """What the author probably meant to write; without a fact, its field says in words what it takes."""
    if isinstance(value, str) and value and not isinstance(plain_scalar(value[:40]), str):
        return f"without quotes, `{value}` is not text"
    if "true or false" in types and str(value).lower() in _OTHER_WORDS:
        return f"write `{_OTHER_WORDS[str(value).lower()]}`"
    if fact is None:
        return ""
    if "text" in types and isinstance(value, int | float):
        return f'write `"{value}"`'
    if "a list" in types and isinstance(value, str | int | float):
        return f"write `[{value}]`"
    if "a mapping" in types and (target := fact.model_at(fact.path)):
        keys = [info.alias or name for name, info in target.model_fields.items()]
        return f"its keys are {', '.join(f'`{key}`' for key in keys)}"
    return ""


def _number(limit: object) -> str:
    return f"{limit:,}".removesuffix(".0") if isinstance(limit, int | float) else str(limit)


def _options(context: dict[str, Any]) -> list[str]:
    return re.findall(r"'([^']*)'", str(context["expected"]))


def _or(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _field_at(model: type[BaseModel], path: Path, labels: frozenset[str]) -> FieldInfo | None:
    """The field that holds the value at a path below `model`."""
    keys = [part for part in path if isinstance(part, str)]
    target = _model_at(model, tuple(keys[:-1]), labels) if keys else None
    if target is None:
        return None
    return next((info for name, info in target.model_fields.items() if keys[-1] == (info.alias or name)), None)


def _expected(info: FieldInfo | None) -> str | None:
    """What the field's annotation says that its values are, in words."""
    if info is None:
        return None
    return next((mark.text for mark in _marks(info.annotation, info.metadata) if isinstance(mark, Expected)), None)


def _marks(annotation: Any, metadata: Iterable[object] = ()) -> Iterator[object]:
    yield from metadata
    yield from getattr(annotation, "__metadata__", ())
    for part in getattr(annotation, "__args__", ()):
        yield from _marks(part)


def _model_at(model: type[BaseModel], path: Path, labels: frozenset[str]) -> type[BaseModel] | None:
    """The model that the mapping at a path below `model` was validated as; of a union, the one that a label names."""
    for part in path:
        info = next((i for n, i in model.model_fields.items() if part == (i.alias or n)), None)
        found = _models_in(info.annotation) if info else []
        if not found:
            return None
        model = next((kind for kind in found if labels & _tags(kind)), found[0])
    return model


def _tags(model: type[BaseModel]) -> frozenset[str]:
    """The values of the key that tells a model from the others of its union."""
    annotations = [info.annotation for info in model.model_fields.values() if info.is_required()]
    return frozenset(tag for kind in annotations if get_origin(kind) is Literal for tag in get_args(kind))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]
