"""The JSON Schema of a document as people write it, for editors and other tools.

It describes the file, not the model: a child leaves out what it inherits, and any value may be an interpolation. JSON
Schema cannot say everything; `archc check` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from archc.document.docstrings import attribute_docstrings
from archc.document.kind import Kind

JsonSchema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

INTERPOLATION: JsonSchema = {
    "type": "string",
    "pattern": r"\$\{.+\}",
    "description": "A reference to another value: `${dropout}`.",
}


class Definitions:
    """The schemas of models, with an interpolation allowed for every value.

    `by_name` is open to changes until the schema is put together.
    """

    def __init__(self, models: Sequence[type[BaseModel]]) -> None:
        for part in dict.fromkeys(part for model in models for part in _inside_out(model)):
            _describe(part)
        references, shared = models_json_schema(
            [(model, "validation") for model in dict.fromkeys(models)], by_alias=True, schema_generator=_Generator
        )
        self._names = {
            model: str(reference["$ref"]).removeprefix("#/$defs/") for (model, _), reference in references.items()
        }
        self.by_name: dict[str, JsonSchema] = {name: _open(schema) for name, schema in shared["$defs"].items()}

    def name_of(self, model: type[BaseModel]) -> str:
        """The name of a model's definition."""
        return self._names[model]

    def take(self, model: type[BaseModel]) -> JsonSchema:
        """Remove a model's definition from the shared ones and return it."""
        return self.by_name.pop(self.name_of(model))


def json_schema(kind: Kind[Any]) -> JsonSchema:
    """The schema of a kind's files."""
    definitions = Definitions([kind.model])
    top = definitions.take(kind.model)
    optional(definitions.by_name.values())
    required = [key for key in top.get("required", []) if key != "name"]
    alone: JsonSchema = {"if": {"not": {"required": ["defaults"]}}, "then": {"required": required}} if required else {}
    return {**document(kind, top["properties"], definitions), **alone}


def document(kind: Kind[Any], properties: JsonSchema, definitions: Definitions) -> JsonSchema:
    """Put a kind's schema together. The caller may add rules about the whole file."""
    return {
        "$schema": DIALECT,
        "title": f"archc {kind.noun}",
        "description": _summary(kind.model),
        "type": "object",
        "properties": {"defaults": _defaults(kind.noun), **properties},
        "additionalProperties": False,
        "$defs": dict(sorted({**definitions.by_name, "interpolation": INTERPOLATION}.items())),
    }


def optional(definitions: Iterable[JsonSchema]) -> None:
    """Make every key optional: a child states only what differs from its parents."""
    for definition in definitions:
        definition.pop("required", None)


def _defaults(noun: str) -> JsonSchema:
    return {
        "type": "array",
        "description": f"The {noun}s to inherit, later ones over earlier ones; `_self_` stands for this file.",
        "items": {
            "anyOf": [{"type": "string", "minLength": 1}, {"type": "object", "minProperties": 1, "maxProperties": 1}]
        },
    }


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")


def _inside_out(model: type[BaseModel], above: tuple[type[BaseModel], ...] = ()) -> Iterator[type[BaseModel]]:
    """A model and the models inside it, the inner ones first."""
    for info in model.model_fields.values():
        for part in _models(info.annotation):
            if part is not model and part not in above:
                yield from _inside_out(part, (*above, model))
    yield model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _describe(model: type[BaseModel]) -> None:
    """Give a model's fields the docstrings under them as descriptions."""
    for name, text in attribute_docstrings(model).items():
        if name in model.model_fields and model.model_fields[name].description is None:
            model.model_fields[name].description = text
    model.model_rebuild(force=True)


class _Generator(GenerateJsonSchema):
    """Pydantic's, silent about defaults that have no JSON: an empty mapping of one's own names."""

    ignored_warning_kinds = {"non-serializable-default"}  # noqa: RUF012 (pydantic's own declaration)


def _open(schema: JsonSchema) -> JsonSchema:
    """A model's schema with an interpolation allowed for every value, and without pydantic's titles."""
    opened = {key: value for key, value in schema.items() if key != "title"}
    if "properties" in opened:
        opened["properties"] = {key: _value(value) for key, value in opened["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(opened.get(key), dict):
            opened[key] = _value(opened[key])
    if "oneOf" in opened:
        # A child leaves out the key that tells them apart, as it inherits it, and then more than one may fit.
        opened.pop("discriminator", None)
        opened["anyOf"] = opened.pop("oneOf")
    if "anyOf" in opened:
        opened["anyOf"] = [_open(option) for option in opened["anyOf"]]
    return opened


def _value(schema: JsonSchema) -> JsonSchema:
    schema = _open(schema)
    notes: JsonSchema = {key: schema.pop(key) for key in ("description", "default") if key in schema}
    if notes.get("default", "") is None:
        del notes["default"]  # null stands for what the description says
    if schema == {"type": "string"} or not schema:
        return {**notes, **schema}
    return {**notes, "anyOf": [*schema.get("anyOf", [schema]), {"$ref": "#/$defs/interpolation"}]}
