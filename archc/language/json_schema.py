"""The JSON Schema of a spec file as people write it, for editors and other tools.

It describes the file, not the `Spec`: rows may be lists, a child leaves out what it inherits, a stage may be patched
by index or removed with null, and any value may be an interpolation. What JSON Schema cannot say (row lengths,
references, shapes) only `archc check` finds.
"""

from __future__ import annotations

from pydantic import BaseModel

from archc.document.json_schema import Definitions, JsonSchema, document, optional
from archc.language.load import kind
from archc.language.registry import BlockRegistry
from archc.language.row import Row
from archc.language.schema import STAGE_NAME, Spec


def json_schema(blocks: BlockRegistry) -> JsonSchema:
    """The schema of a spec file whose rows may name these blocks."""
    rows = dict(blocks)
    models: list[type[BaseModel]] = [Spec, Row, *rows.values()]
    definitions = Definitions(models)
    required: dict[str, list[str]] = {}
    columns: JsonSchema = {}
    for name, block in rows.items():
        definition = definitions.by_name[definitions.name_of(block)]
        required[name] = [key for key in definition.pop("required", []) if key != "block"]
        definition["properties"]["block"] = {"type": "string", "description": definition.get("description", "")}
        columns |= dict.fromkeys(definition["properties"], True)
    spec = definitions.take(Spec)
    optional(definitions.by_name.values())
    definitions.take(Row)
    names = {name: definitions.name_of(block) for name, block in rows.items()}
    definitions.by_name |= {
        "columns": {
            "description": "A row whose block is not written in it.",
            "type": "object",
            "properties": columns,
            "additionalProperties": False,
        },
        "row": _row(names),
        "stage": _STAGE,
    }
    spec["properties"]["stages"] |= {
        "propertyNames": {"pattern": f"^{STAGE_NAME.pattern}$", "not": {"const": "input"}},
        "additionalProperties": {"$ref": "#/$defs/stage"},
    }
    whole = document(kind(blocks), spec["properties"], definitions)
    shared = whole.pop("$defs")
    described = {"description": "A network as a table of blocks, compiled by archc."}
    return {**whole, **described, "allOf": [*_under_table(names), _standalone(required)], "$defs": shared}


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
