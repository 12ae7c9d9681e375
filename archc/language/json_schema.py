"""The JSON Schema of a spec file as people write it, for editors and other tools.

It describes the file, not the `Spec`: rows may be lists, a child leaves out what it inherits, a stage may be patched
by index or removed with null, and any value may be an interpolation. What JSON Schema cannot say (row lengths,
references, shapes) only `archc check` finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from archc.document.docstrings import attribute_docstrings
from archc.document.model import Settings
from archc.language.registry import BlockRegistry
from archc.language.row import Row
from archc.language.schema import STAGE_NAME, Spec

JsonSchema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_INTERPOLATION: JsonSchema = {
    "type": "string",
    "pattern": r"\$\{.+\}",
    "description": "A reference to another value: `${dropout}`.",
}
_DEFAULTS: JsonSchema = {
    "type": "array",
    "description": "The specs to inherit, later ones over earlier ones; `_self_` stands for this file.",
    "items": {
        "anyOf": [{"type": "string", "minLength": 1}, {"type": "object", "minProperties": 1, "maxProperties": 1}]
    },
}


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for child in model.__subclasses__():
        yield from _below(child)


def _describe(model: type[BaseModel]) -> None:
    """Give a model's fields the docstrings under them as descriptions."""
    for name, text in attribute_docstrings(model).items():
        if name in model.model_fields and model.model_fields[name].description is None:
            model.model_fields[name].description = text
    model.model_rebuild(force=True)


class _Generator(GenerateJsonSchema):
    """Pydantic's, silent about defaults that have no JSON: an empty mapping of one's own names."""

    ignored_warning_kinds = {"non-serializable-default"}  # noqa: RUF012 (pydantic's own declaration)


def json_schema(blocks: BlockRegistry) -> JsonSchema:
    """The schema of a spec file whose rows may name these blocks."""
    rows = dict(blocks)
    for model in dict.fromkeys([*_below(Settings), *rows.values()]):
        _describe(model)  # in the order of definition: what a model is made of comes before it
    models: list[type[BaseModel]] = [Spec, Row, *rows.values()]
    references, shared = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)], by_alias=True, schema_generator=_Generator
    )
    definitions: dict[str, JsonSchema] = {name: _open(schema) for name, schema in shared["$defs"].items()}

    def name_of(model: type[BaseModel]) -> str:
        return str(references[model, "validation"]["$ref"]).removeprefix("#/$defs/")

    required: dict[str, list[str]] = {}
    columns: JsonSchema = {}
    for name, block in rows.items():
        definition = definitions[name_of(block)]
        required[name] = [key for key in definition.pop("required", []) if key != "block"]
        definition["properties"]["block"] = {"type": "string", "description": definition.get("description", "")}
        columns |= dict.fromkeys(definition["properties"], True)
    spec = definitions.pop(name_of(Spec))
    for definition in definitions.values():
        definition.pop("required", None)  # of a settings group: a child states only what differs
    definitions.pop(name_of(Row))
    definitions |= {
        "interpolation": _INTERPOLATION,
        "columns": {
            "description": "A row whose block is not written in it.",
            "type": "object",
            "properties": columns,
            "additionalProperties": False,
        },
        "row": _row({name: name_of(block) for name, block in rows.items()}),
        "stage": _STAGE,
    }
    spec["properties"]["stages"] |= {
        "propertyNames": {"pattern": f"^{STAGE_NAME.pattern}$", "not": {"const": "input"}},
        "additionalProperties": {"$ref": "#/$defs/stage"},
    }
    return {
        "$schema": DIALECT,
        "title": "archc spec",
        "description": "A network as a table of blocks, compiled by archc.",
        "type": "object",
        "properties": {"defaults": _DEFAULTS, **spec["properties"]},
        "additionalProperties": False,
        "allOf": [*_under_table({name: name_of(block) for name, block in rows.items()}), _standalone(required)],
        "$defs": dict(sorted(definitions.items())),
    }


_STAGE: JsonSchema = {
    "anyOf": [
        {
            "description": "The stage's rows, each a list of the table's cells or a mapping.",
            "type": "array",
            "minItems": 1,
            "items": {"anyOf": [{"type": "array"}, {"$ref": "#/$defs/row"}]},
        },
        {
            "description": "Changes to inherited rows, by index.",
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^[0-9]+$"},
            "additionalProperties": {"anyOf": [{"type": "array"}, {"$ref": "#/$defs/row"}]},
        },
        {"description": "Leave an inherited stage out.", "type": "null"},
    ]
}


def _row(names: dict[str, str]) -> JsonSchema:
    """A row as a mapping: its `block` decides its keys. Other packages' blocks are not checked."""
    other: JsonSchema = {"type": "string", "pattern": r":|\$\{", "description": "`package.module:Class`."}
    return {
        "type": "object",
        "properties": {"block": {"anyOf": [{"enum": list(names)}, other]}},
        "allOf": [
            *(
                {"if": _has_block(name), "then": {"$ref": f"#/$defs/{definition}"}}
                for name, definition in names.items()
            ),
            {"if": {"not": {"required": ["block"]}}, "then": {"$ref": "#/$defs/columns"}},
        ],
    }


def _under_table(names: dict[str, str]) -> list[JsonSchema]:
    """Rows without a `block` have the keys of `table.block`."""
    rules = []
    for name, definition in names.items():
        bare = {"if": {"type": "object", "not": {"required": ["block"]}}, "then": {"$ref": f"#/$defs/{definition}"}}
        stage = {"if": {"type": "array"}, "then": {"items": bare}, "else": {"additionalProperties": bare}}
        rules.append(
            {
                "if": {"required": ["table"], "properties": {"table": _has_block(name)}},
                "then": {"properties": {"stages": {"additionalProperties": stage}}},
            }
        )
    return rules


def _standalone(required: dict[str, list[str]]) -> JsonSchema:
    """A spec that inherits nothing has stages, all of them lists; without `table.defaults`, its rows are complete."""
    complete: JsonSchema = {
        "allOf": [{"if": _has_block(name), "then": {"required": keys}} for name, keys in required.items() if keys]
    }
    filled = {"required": ["table"], "properties": {"table": {"type": "object", "required": ["defaults"]}}}
    return {
        "if": {"not": {"required": ["defaults"]}},
        "then": {
            "required": ["stages"],
            "properties": {"stages": {"minProperties": 1, "additionalProperties": {"type": ["array", "null"]}}},
            "if": {"not": filled},
            "then": {"properties": {"stages": {"additionalProperties": {"items": complete}}}},
        },
    }


def _has_block(name: str) -> JsonSchema:
    return {"type": "object", "required": ["block"], "properties": {"block": {"const": name}}}


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
        del opened["discriminator"]
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
