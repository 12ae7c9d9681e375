"""Turns pydantic's validation errors into diagnostics: at their place in the text, in the words of its author."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from archc.document.annotations import Declared, declared_at, keys_of
from archc.document.diagnostics import Diagnostic, Span, did_you_mean, one_of
from archc.document.scalars import plain_scalar
from archc.document.tree import Path, Tree, child, find, locate, plain
from archc.document.values import Expected, Synonyms, show

MAX_HINTS = 1_000
"""At most so many problems get a suggestion: a document with more has not just typos."""

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
"""Errors that say only that the value has the wrong type. In a union, another member may come further."""
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


def from_validation(
    error: ValidationError, tree: Tree, base: Path, model: type[BaseModel], owner: str
) -> list[Diagnostic]:
    """One diagnostic per problem that pydantic found in the value at `base`, which was validated as `model`.

    Messages call that value `owner`, such as `a spec`.
    """
    facts = [_Fact(details, tree, base, model) for details in error.errors(include_url=False)]
    # Of a union, each member complains. If one of them accepted the value's type, and complains about something inside
    # it or about its range, then the others' complaints about the type say nothing.
    further = {fact.place for fact in facts if not fact.mistyped}
    further |= {fact.place[:length] for fact in facts for length in range(len(fact.place))}
    groups: dict[Path, list[_Fact]] = {}
    for fact in facts:
        if not (fact.mistyped and fact.place in further):
            groups.setdefault(fact.place, []).append(fact)
    return [_diagnostic(group, owner, number < MAX_HINTS) for number, group in enumerate(groups.values())]


def unplaced(error: PydanticCustomError, span: Span) -> Diagnostic:
    """The diagnostic for an error that a validator raised when called without pydantic."""
    return Diagnostic(error.type, error.message(), span, *_hint(str((error.context or {}).get("help", ""))))


def _hint(text: str) -> tuple[str, tuple[str, ...], str]:
    """A hint as the label, notes and help of a diagnostic. A suggestion becomes the label, anything else the help."""
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
        real, self.labels = self._split()
        self.path = (*self.base, *real, *self.context.get("at", ()))
        missing: Path = ()
        if self.kind == "missing":
            missing = (self.details["loc"][-1],)
        elif self.kind in ("union_tag_invalid", "union_tag_not_found") and (key := self._discriminator()):
            missing = (key,)
        if self.kind == "union_tag_invalid":
            self.path, missing = (*self.path, *missing), ()
        self.place = (*self.path, *missing)
        self.mistyped = self.kind in _TYPES or self.kind in ("literal_error", "expected")

    def _split(self) -> tuple[Path, frozenset[str]]:
        """Pydantic's location as keys of the document, and the labels in it that name members of unions."""
        node = find(self.tree, self.base)
        real: Path = ()
        labels = set()
        for part in self.details["loc"]:
            below = child(node, part) if node is not None else None
            if below is not None:
                real, node = (*real, part), below
            else:
                labels.add(str(part))
        return real, frozenset(labels)

    def _discriminator(self) -> str | None:
        declared = self.declared
        return declared.discriminator if declared else None

    @property
    def span(self) -> Span:
        return locate(self.tree, self.path, key=self.kind == "extra_forbidden")

    @cached_property
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

    @cached_property
    def declared(self) -> Declared | None:
        """The declaration of the value that pydantic refused.

        `norm: batchh` stands for `{kind: batchh}`, so pydantic's location has a key that the document lacks.
        """
        here: Declared | None = Declared((self.model,))
        for part in self.details["loc"]:
            below = here.step(part, self.labels) if here is not None else None
            if below is not None:
                here = below
        return here

    def holder(self) -> Declared | None:
        """The declaration of the key, in the document, that the value is under."""
        keys = self.path[len(self.base) :]
        while keys and isinstance(keys[-1], int):
            keys = keys[:-1]
        return declared_at(self.model, keys, self.labels) if keys else None

    def keys_at(self, path: Path) -> list[str]:
        """The keys that the mapping at a path of the document may have."""
        declared = declared_at(self.model, path[len(self.base) :], self.labels)
        model = declared.model(self.labels) if declared else None
        return list(keys_of(model).values()) if model else []


def _diagnostic(facts: list[_Fact], owner: str, with_hint: bool) -> Diagnostic:
    """One diagnostic for one place: for a single error, or for the errors of all members of a union."""
    fact = facts[0]
    kind, context, span = fact.kind, fact.context, fact.span
    inside = len(fact.place) > len(fact.base) + 1
    holder = f"`{fact.place[-2]}`" if inside else owner
    if kind == "extra_forbidden":
        key = str(fact.path[-1])
        keys = fact.keys_at(fact.path[:-1]) if with_hint else []
        hint = did_you_mean(key, keys) or one_of(keys)
        return Diagnostic("unknown-key", f"`{key}` is not a key of {holder}", span, *_hint(hint))
    if kind in ("missing", "union_tag_not_found"):
        return Diagnostic("missing-key", f"{holder} needs `{fact.place[-1]}`", span)
    if kind == "union_tag_invalid":
        tags = fact.declared.tags if fact.declared else []
        hint = did_you_mean(fact.value, tags) or one_of(tags)
        return Diagnostic("invalid-value", f"{fact.name} cannot be {show(fact.value)}", span, *_hint(hint))
    if kind != "expected" and "message" in context:
        return Diagnostic(kind, str(context["message"]), span, *_hint(str(context.get("help", ""))))
    if not fact.mistyped:
        wording = _RANGES.get(kind)
        said = fact.details["msg"]
        if own := _expected(fact.holder()) if kind == "string_pattern_mismatch" else None:
            wording = own
        limits = {key: _number(limit) for key, limit in context.items()}
        message = f"must be {wording.format(**limits)}" if wording else said[:1].lower() + said[1:]
        return Diagnostic("invalid-value", f"{fact.name} {message}, not {show(fact.value)}".lstrip(), span)
    return _mistyped(facts)


def _mistyped(facts: list[_Fact]) -> Diagnostic:
    fact, value = facts[0], facts[0].value
    options = list(dict.fromkeys(word for other in facts for word in _words(other)))
    stated = [str(other.context["expected"]) for other in facts if other.kind == "expected"]
    types = [_TYPES[other.kind] for other in facts if other.kind in _TYPES]
    hint = next((str(other.context["help"]) for other in facts if other.context.get("help")), "")
    whole = isinstance(fact.path[-1], str) if fact.path else True
    expected = _expected(fact.holder()) if whole else None
    if options and not (types or stated):
        synonyms = fact.declared.mark(Synonyms) if fact.declared else None
        meant = synonyms.words.get(str(value)) if synonyms else "none" if value is None else None
        hint = hint or (f"did you mean `{meant}`?" if meant in options else "")
        hint = hint or did_you_mean(value, options) or one_of(options)
        return Diagnostic("invalid-value", f"{fact.name} cannot be {show(value)}".lstrip(), fact.span, *_hint(hint))
    hint = hint or did_you_mean(value, options) or _how_to_write(value, types, fact if expected is None else None)
    if expected is None:
        wanted = dict.fromkeys([*stated, *types, *(f"`{option}`" for option in options)])
        expected = _or(wanted or ["something else"])
    message = f"{fact.name} must be {expected}, not {show(value)}".lstrip()
    return Diagnostic("invalid-value", message, fact.span, *_hint(hint))


def _words(fact: _Fact) -> Sequence[str]:
    """The words that are allowed, if the error is about words."""
    return fact.declared.words_of(fact.labels) if fact.kind == "literal_error" and fact.declared else ()


def _how_to_write(value: object, types: list[str], fact: _Fact | None) -> str:
    """What the author probably meant to write. `fact` is None where the field describes its values in words."""
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
    if "a mapping" in types and (keys := fact.keys_at(fact.path)):
        return f"its keys are {', '.join(f'`{key}`' for key in keys)}"
    return ""


def _number(limit: object) -> str:
    return f"{limit:,}".removesuffix(".0") if isinstance(limit, int | float) else str(limit)


def _or(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _expected(declared: Declared | None) -> str | None:
    """The description of a field's values, if its annotations have one."""
    mark = declared.mark(Expected) if declared else None
    return mark.text if mark else None
