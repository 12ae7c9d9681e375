"""Pydantic's validation errors as diagnostics at the place in the text."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from archc.spec.diagnostics import Diagnostic, Span, did_you_mean, one_of
from archc.spec.tree import Path, Tree, find, locate
from archc.spec.values import show


def from_validation(
    error: ValidationError, tree: Tree, base: Path, model: type[BaseModel], owner: str = "a spec"
) -> list[Diagnostic]:
    """One diagnostic per problem that pydantic found in the value at `base`, which was validated as `model`."""
    return [_diagnostic(details, tree, base, model, owner) for details in error.errors(include_url=False)]


def unplaced(error: PydanticCustomError, span: Span) -> Diagnostic:
    """A diagnostic from an error that a validator raised outside of pydantic."""
    return Diagnostic(error.type, error.message(), span, str((error.context or {}).get("help", "")))


def _diagnostic(details: ErrorDetails, tree: Tree, base: Path, model: type[BaseModel], owner: str) -> Diagnostic:
    path = _real_path(tree, base, details["loc"])
    kind, context = details["type"], details.get("ctx", {})
    key = str(path[-1]) if path else ""
    span = locate(tree, path)
    if kind == "extra_forbidden":
        target = _model_at(model, path[len(base) : -1])
        keys = [info.alias or name for name, info in target.model_fields.items()] if target else []
        holder = owner if len(path) == len(base) + 1 else f"`{path[-2]}`"
        hint = did_you_mean(key, keys)
        span = locate(tree, path, key=True)
        return Diagnostic(
            "unknown-key", f"`{key}` is not a key of {holder}", span, hint, help="" if hint else one_of(keys)
        )
    if kind == "missing":
        missing = str(details["loc"][-1])
        holder = owner if len(details["loc"]) == 1 else f"`{details['loc'][-2]}`"
        return Diagnostic("missing-key", f"{holder} needs `{missing}`", span)
    if "help" in context or (kind not in _WORDED and "message" in context):
        return Diagnostic(kind, str(context["message"]), span, str(context.get("help", "")))
    value = show(details["input"])
    name = f"`{key}` " if key else ""
    if kind == "literal_error":
        options = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        hint = did_you_mean(details["input"], options)
        help = "" if hint else one_of(options)
        return Diagnostic("invalid-value", f"{name}cannot be {value}", span, hint or help)
    wording = _WORDED.get(kind)
    expected = wording.format(**context) if wording else details["msg"][:1].lower() + details["msg"][1:]
    return Diagnostic(
        "invalid-value", f"{name}must be {expected}, not {value}" if wording else f"{name}{expected}", span
    )


_WORDED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "finite_number": "a finite number",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_short": "text, and not empty",
    "string_too_long": "text of at most {max_length} characters",
}


def _real_path(tree: Tree, base: Path, loc: tuple[int | str, ...]) -> Path:
    """Pydantic's location without the labels it adds for union members, which are no keys of the document."""
    path = base
    for part in loc:
        here = find(tree, (*path, part))
        if here is not None:
            path = (*path, part)
    return path


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model that the mapping at a path below `model` was validated as."""
    for part in path:
        info = next((i for n, i in model.model_fields.items() if part in (n, i.alias)), None)
        found = _models_in(info.annotation) if info else []
        if not found:
            return None
        model = found[0]
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]
