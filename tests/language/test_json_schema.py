"""The JSON Schema of spec files: it takes every bundled spec, and refuses what archc refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import archc
from archc.blocks import BUILTIN
from archc.document.diagnostics import Source
from archc.document.library import bundled_directory
from archc.document.tree import plain
from archc.document.yaml import read_file, read_text
from archc.language.json_schema import json_schema
from archc.language.schema import Spec
from tests.language.helpers import BUNDLED, SMALL

SCHEMA = json_schema(archc.REGISTRY)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
COMMITTED = Path(__file__).parents[2] / "specs" / "schema.json"


def parsed(text: str) -> Any:
    return plain(read_text(Source("a.yaml", text)))


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_committed_file_is_up_to_date() -> None:
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == SCHEMA, "archc schema > specs/schema.json"


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_specs_validate_and_name_it(name: str) -> None:
    path = bundled_directory() / f"{name}.yaml"
    VALIDATOR.validate(plain(read_file(path)))
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=schema.json\n")


VALID = {
    "a child without stages": "defaults: [mnv3_small, _self_]\nname: x\n",
    "a child that patches rows": "defaults: [a]\nstages: {c4: {0: {out: 48}, 2: [3, 16]}, c5: null}\n",
    "groups of settings": "defaults: [a, norm: small, optional b@c: null]\n",
    "interpolations everywhere": 'stages: {c1: [{block: conv, out: "${vars.n}", act: "${act}", kernel: ["${k}", 3]}]}\n'
    'width_mult: "${vars.w}"\nnorm: "${vars.norm}"\ninput: {mean: "${input.std}"}\n',
    "rows without a block": "table: {block: conv}\nstages: {c1: [{out: 8, kernel: 3}]}\n",
    "rows whose block a parent names": "defaults: [a]\nstages: {c1: [{expand: 4x, out: 8}]}\n",
    "what table.defaults fill": "table: {block: conv, defaults: {out: 8}}\nstages: {c1: [{kernel: 3}]}\n",
    "shorthands": "drop_path: 0.2\nnorm: none\n"
    "stages: {c1: [{block: inverted_residual, expand: 4x, out: 8, se: 0.25, norm: none}]}\n",
    "a user's block": "stages: {c1: [{block: 'my.module:Block', anything: [1, 2]}]}\n",
    "own names": "vars: {a: {b: [1, x]}}\nstages: {c1: [{block: pool}]}\n",
    "outputs": "outputs: {low: c1.0.conv, high: c1}\nstages: {c1: [{block: conv, out: 8, from: input}]}\n",
    "initialisers": "init: {conv: xavier_uniform, linear: {normal: 0.01}}\nstages: {c1: [{block: pool}]}\n",
}


@pytest.mark.parametrize("text", VALID.values(), ids=VALID)
def test_valid(text: str) -> None:
    VALIDATOR.validate(parsed(text))


INVALID = {
    "an unknown key": SMALL.replace("dropout:", "drop_out:"),
    "an unknown key of a group": SMALL.replace("of: expanded", "off: expanded"),
    "an unknown key of a row": SMALL.replace("{block: conv, kernel", "{block: conv, kernal"),
    "another block's key": "stages: {c1: [{block: conv, out: 8, expand: 4}]}\n",
    "a key of no block": "defaults: [a]\nstages: {c1: [{expnd: 4}]}\n",
    "an unknown key under the table": "table: {block: conv}\nstages: {c1: [{out: 8, expand: 3}]}\n",
    "an unknown block": SMALL.replace("block: pool", "block: pol"),
    "a missing column": "stages: {c1: [{block: conv, kernel: 3}]}\n",
    "no stages": "name: x\n",
    "empty stages": "stages: {}\n",
    "stages as a list": "stages: [{block: pool}]\n",
    "an empty stage": "stages: {c1: []}\n",
    "a patch of nothing": "stages: {c1: {0: {out: 8}}}\n",
    "a patch by name": "defaults: [a]\nstages: {c1: {out: 8}}\n",
    "a stage named input": "stages: {input: [{block: pool}]}\n",
    "a stage with a dash": "stages: {c-1: [{block: pool}]}\n",
    "a row that is a word": "stages: {c1: [pool]}\n",
    "a word for a number": "width_mult: wide\nstages: {c1: [{block: pool}]}\n",
    "a boolean for a number": "width_mult: true\nstages: {c1: [{block: pool}]}\n",
    "a number for a boolean": "dilated: 1\nstages: {c1: [{block: pool}]}\n",
    "out of range": "dropout: 1.5\nstages: {c1: [{block: pool}]}\n",
    "a pair of three": "input: {size: [1, 2, 3]}\nstages: {c1: [{block: pool}]}\n",
    "an unknown activation": SMALL.replace("hardswish", "hswish"),
    "a count below one": "stages: {c1: [{block: conv, out: 0}]}\n",
    "a misspelt ratio": "stages: {c1: [{block: conv, out: x4}]}\n",
    "a bad reference": "outputs: [c 1]\nstages: {c1: [{block: pool}]}\n",
    "defaults that are no list": "defaults: mnv3_small\n",
    "two entries in one": "defaults: [{a: b, c: d}]\n",
}


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID)
def test_invalid(text: str) -> None:
    assert list(VALIDATOR.iter_errors(parsed(text)))


@pytest.mark.parametrize("name", [name for name in INVALID if "defaults: [a]" not in INVALID[name]])
def test_what_the_schema_refuses_archc_refuses(name: str, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(INVALID[name], encoding="utf-8")
    with pytest.raises(archc.SpecError):
        archc.lower(archc.load(path))


def test_every_key_is_described_by_name() -> None:
    keys = {info.alias or name for name, info in Spec.model_fields.items()}
    assert set(SCHEMA["properties"]) == keys | {"defaults"}
    assert set(SCHEMA["$defs"]["row"]["properties"]["block"]["anyOf"][0]["enum"]) == set(BUILTIN)
    for name, block in BUILTIN.items():
        fields = {info.alias or field: info for field, info in block.model_fields.items()}
        definition = SCHEMA["$defs"][block.__name__]
        assert set(definition["properties"]) == set(fields), name
        for key, info in fields.items():
            if info.description and key != "block":
                assert definition["properties"][key]["description"] == info.description


def test_descriptions_are_kept() -> None:
    described = [key for key, value in SCHEMA["properties"].items() if value.get("description")]
    assert len(described) >= len(SCHEMA["properties"]) - 3


def test_a_registered_block_takes_part() -> None:
    from archc.language.registry import BlockRegistry
    from archc.language.row import Row

    class Mine(Row):
        """A block of one's own."""

        size: int
        """How large."""

    registry = BlockRegistry()
    registry.register("mine", Mine)
    registry.register("conv", BUILTIN["conv"])
    validator = jsonschema.Draft202012Validator(json_schema(registry))
    validator.validate({"stages": {"c1": [{"block": "mine", "size": 3}]}})
    for row in ({"block": "mine"}, {"block": "mine", "size": "x"}, {"block": "mine", "size": 3, "out": 8}):
        assert list(validator.iter_errors({"stages": {"c1": [row]}}))
