"""Broken input of every kind: only diagnostics come out, soon, and never another exception.

`test_fuzzed_specs` runs a few hundred cases. `ARCHC_FUZZ_CASES` is another number, for a search that takes longer:

    ARCHC_FUZZ_CASES=100000 python -m pytest -n0 tests/language/test_fuzz.py -k fuzzed_specs
"""

from __future__ import annotations

import copy
import os
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import archc
from archc.document.diagnostics import Span
from archc.document.library import bundled_directory
from archc.document.tree import plain
from archc.document.yaml import read_file
from tests.language.helpers import BUNDLED, HANG_S

TEXTS = {name: (bundled_directory() / f"{name}.yaml").read_text(encoding="utf-8") for name in BUNDLED}
TREES = {name: plain(read_file(bundled_directory() / f"{name}.yaml")) for name in BUNDLED}
WORDS = [
    *"{}[]:,-&*!#|>'\"%@`?~$ \t\n\r\0\x85\u2028éé🙂0123456789x", "${", "}", "${dropout}", "${a.b}", "${oc.env:HOME}",
    "${oc.select:x}",
    "${.x}", "${stages}", "\\", "null", "true", "false", ".nan", ".inf", "-.inf", "1e999", "-1", "0", "0x", "4x",
    "-2x", "999999999", "1e-9",
    "99999999999999999999999999999999999999999999999999", "input", "c3", "c3.0", "c3.0.expand", "c9", "<<", "*a",
    "&a ", "!!str ",
    "!!python/name:os.system ", "---\n", "...\n", "- ", "  ", "stages:", "defaults:",
    "defaults: [mnv3_small, _self_]\n", "block: ", "from: ",
    "repeat: 1000", "depth: 10000", "stride: 2", "kernel: 255", "outputs: [c3, c4]", "width_mult: 100", "out: 1000x",
    "expand: 1000x",
    "dilated: true", "reduced_tail: true", "conv", "mobilevit", "add", "concat", "resize", "pool", "linear", "a:b",
]  # fmt: skip


CASES = int(os.environ.get("ARCHC_FUZZ_CASES", "300"))


def survives(load: Callable[..., archc.Spec], *arguments: Any) -> None:
    """Loading, lowering and pricing end in a report or in diagnostics, within the limit."""
    start = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", archc.SpecWarning)
            archc.report(archc.lower(load(*arguments))).to_dict()
    except archc.SpecError as error:
        found = error.diagnostics
    else:
        found = ()
    for problem in found:
        assert problem.message
        assert str(problem).isprintable()
        if problem.span is not None:
            check_span(problem.span)
    assert time.monotonic() - start < HANG_S


def check_span(span: Span) -> None:
    """A caret stands on its line, or just after its end."""
    line = span.source.line(span.line)
    assert span.line >= 1
    assert 1 <= span.column <= len(line) + 1
    assert 1 <= span.length <= max(1, len(line) + 1 - (span.column - 1))


def mutated_text(random: random.Random, text: str) -> str:
    """A few small accidents: characters and lines deleted, doubled, swapped, replaced, words put in."""
    for _ in range(random.randint(1, 4)):
        lines = text.split("\n")
        at, other = random.randrange(len(text) + 1), random.randrange(len(text) + 1)
        kind = random.randrange(9)
        if kind == 0:
            text = text[:at] + text[at + random.randint(1, 8) :]
        elif kind == 1:
            text = text[:at] + random.choice(WORDS) + text[at:]
        elif kind == 2:
            text = text[:at] + random.choice(WORDS) + text[at + random.randint(1, 6) :]
        elif kind == 3:
            a, b = sorted((at, other))
            text = text[:a] + text[b : b + 3] + text[a:b] + text[b + 3 :]
        elif kind == 4:
            del lines[random.randrange(len(lines))]
        elif kind == 5:
            lines.insert(random.randrange(len(lines)), random.choice(lines))
        elif kind == 6:
            a, b = random.randrange(len(lines)), random.randrange(len(lines))
            lines[a], lines[b] = lines[b], lines[a]
        elif kind == 7:
            a = random.randrange(len(lines))
            lines[a] = " " * random.randint(0, 8) + lines[a].lstrip()
        else:
            text = text[:at]
        if kind in (4, 5, 6, 7):
            text = "\n".join(lines)
        text = text or "x"
    return text


@pytest.mark.parametrize("seed", range(4))
def test_mutated_text(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "spec.yaml"
    for _ in range(150):
        text = mutated_text(chance, TEXTS[chance.choice(BUNDLED)])
        path.write_text(text, encoding="utf-8", newline="")
        survives(archc.load, path)


@pytest.mark.parametrize("seed", range(2))
def test_mutated_bytes(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "spec.yaml"
    for _ in range(100):
        data = bytearray(TEXTS[chance.choice(BUNDLED)].encode())
        for _ in range(chance.randint(1, 5)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        survives(archc.load, path)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if len(path) > 12:  # a value that holds itself
        return []
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in children:
        found += places(item, (*path, key))
    return found


def odd_value(random: random.Random, tree: Any) -> Any:
    """A value that does not belong: another part of the tree, or something no YAML file could even hold."""
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    part = tree
    for key in random.choice(places(tree)):
        part = part[key]
    pool: list[Any] = [
        None, True, False, 0, 1, -1, 2, 7, 1000, 65_536, 10**6, 10**400, -(10**20), 0.5, 1.0, -0.0, 1e308, 1e-320,
        float("nan"), float("inf"), "", "x", "relu", "none", "4x", "1000x", "0.0001x", "input", "c3", "c3.0",
        "c4.1.expand",
        "${dropout}", "${stages}", "${vars.x}", "${", "$", "\0", "\ud800", "é" * 500, "x" * 100_000, b"bytes",
        object(), {1, 2},
        (1, 2), [], {}, [[]], [1, 2], [1, 2, 3], {"a": 1}, {"0": {"out": 8}}, {1: 2}, {None: None}, {"block": "conv",
        "out": 8},
        {"block": "mobilevit", "dim": 12, "depth": 3, "ffn": 8}, {"block": "add", "from": ["c3", "c4"]},
        {"normal": True},
        {"normal": 10**400}, cyclic, range(3), 1j, "9" * 5000, 10**5000, Path("x"), len, lambda: None,
        copy.deepcopy(part),
    ]  # fmt: skip
    return random.choice(pool)


def mutated_tree(random: random.Random, tree: Any) -> Any:
    tree = copy.deepcopy(tree)
    for _ in range(random.randint(1, 3)):
        *path, last = random.choice(places(tree))
        parent = tree
        for key in path:
            parent = parent[key]
        kind = random.randrange(4)
        if kind == 0:
            del parent[last]
        elif kind == 1 and isinstance(parent, dict):
            parent[random.choice(["outt", "block", "from", "out", "stages", "vars", "0", "", " ", "kernel", 3])] = (
                odd_value(random, tree)
            )
        elif kind == 2 and isinstance(parent, list):
            parent.insert(last, odd_value(random, tree))
        else:
            parent[last] = odd_value(random, tree)
        if not places(tree):
            break
    return tree


@pytest.mark.parametrize("seed", range(4))
def test_mutated_trees(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(200):
        tree = mutated_tree(chance, TREES[chance.choice(BUNDLED)])
        survives(archc.load, tree)


KEYS = [
    "width_mult", "depth_mult", "dilated", "output_stride", "reduced_tail", "tail", "outputs", "act", "norm",
    "norm.eps", "squeeze.rounding.min",
    "input.size", "input.mean", "stages", "stages.c4", "stages.c4.0", "stages.c4.0.out", "stages.c4.9", "stages.c4.5",
    "stages.c4.x", "vars.a",
    "vars.a.b", "table", "table.block", "table.columns", "table.defaults.groups", "name", "defaults",
    "drop_path.rate", "stages.c4.0.norm.eps",
    "stages.c4.0.from", "stages.c4.1.repeat", "stages.head", "stages.new", "nothing", "nothing.at.all",
    "rounding.divisor", "init.conv", "",
]  # fmt: skip
VALUES = [
    "1", "0", "-1", "0.75", "1e9", "nan", "inf", "null", "true", "abc", "''", "'a b'", '"${dropout}"', "${dropout}",
    "${x}", "[1,2]", "[[3,16]]",
    "[]", "{}", "{a:1}", "{a:{b:[1,{c:2}]}}", "{block:pool}", "[{block:conv,out:8}]", "[c3,c4]", "{low:c3}", "4x",
    "1000x", "relu", "1,2", "range(1,3)",
    "choice(1,2)", "interval(0,1)", "sort(3,1)", "glob(*)", "shuffle(1,2)", "tag(a,choice(1))", "int(3)", "float(1)",
    "str(1)", "bool(yes)", "",
    "a=b", "[", "{", "'", "\\", "🙂", "[" * 40 + "]" * 40, "999999999999999999999", "json_str([1])", "extend_list(1)",
    "mnv3_small", "conv",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_random_overrides(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(150):
        survives(archc.load, chance.choice(BUNDLED), random_overrides(chance))


def random_overrides(random: random.Random) -> list[str]:
    """A few overrides: keys and values of every kind, some of them with an accident."""
    changes = []
    for _ in range(random.randint(1, 3)):
        text = random.choice(["", "", "", "+", "++", "~"]) + random.choice(KEYS) + "=" + random.choice(VALUES)
        if random.random() < 0.2:
            at = random.randrange(len(text))
            text = text[:at] + random.choice(WORDS) + text[at + random.randint(0, 2) :]
        changes.append(text)
    return changes


def row_overrides(random: random.Random, name: str) -> list[str]:
    """A few overrides of what the rows and the settings of a spec state."""
    paths = places(TREES[name])
    return [
        f"{random.choice(['', '', '', '++', '~'])}{'.'.join(map(str, random.choice(paths)))}={random.choice(VALUES)}"
        for _ in range(random.randint(1, 3))
    ]


def fuzz(random: random.Random, path: Path) -> None:
    """One case: a bundled spec with accidents in its text or its tree, or with overrides."""
    name = random.choice(BUNDLED)
    kind = random.randrange(4)
    if kind == 0:
        path.write_text(mutated_text(random, TEXTS[name]), encoding="utf-8", newline="")
        survives(archc.load, path)
    elif kind == 1:
        survives(archc.load, mutated_tree(random, TREES[name]))
    elif kind == 2:
        survives(archc.load, name, random_overrides(random))
    else:
        survives(archc.load, name, row_overrides(random, name))


@given(st.randoms(use_true_random=False))
@settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_fuzzed_specs(tmp_path: Path, random: random.Random) -> None:
    fuzz(random, tmp_path / "spec.yaml")


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_text_as_an_override(text: str) -> None:
    survives(archc.load, "mnv3_small", [text])


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_as_a_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    survives(archc.load, path)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.sampled_from(["block", "out",
    "c3"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
FIELDS = sorted(info.alias or name for name, info in archc.Spec.model_fields.items())


@given(st.dictionaries(st.sampled_from(FIELDS), json_like, max_size=5))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_mapping_as_a_spec(changes: dict[str, Any]) -> None:
    tree = TREES["mnv3_small"]
    assert isinstance(tree, dict)
    survives(archc.load, {**tree, **changes})
    survives(archc.load, changes)


@given(st.sampled_from(KEYS), json_like)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_as_a_python_override(key: str, value: Any) -> None:
    spec = archc.load("mnv3_small")
    survives(spec.override, {key: value})


GROWING = [
    {"block": "conv", "out": "1000x", "kernel": 1},
    {"block": "inverted_residual", "expand": "1000x", "out": "1000x", "se": 16.0},
    {"block": "bottleneck", "expand": "900x", "out": "900x"},
    {"block": "linear", "out": "1000x"},
    {"block": "mobilevit", "dim": "1000x", "depth": 1, "ffn": "1000x", "out": "1000x"},
    {"block": "concat", "from": ["input", "input"]},
]


@pytest.mark.parametrize("row", GROWING, ids=[str(row["block"]) for row in GROWING])
def test_growth_ends(row: dict[str, Any]) -> None:
    rows = [row] * 120
    if row["block"] == "concat":
        rows = [{**row, "from": [f"a.{index - 1}"] * 2 if index else ["input"] * 2} for index in range(2000)]
    with pytest.raises(archc.SpecError, match="larger than any network"):
        archc.lower(archc.load({"stages": {"a": rows}}))


def test_large_networks_are_priced_soon() -> None:
    deep = {"block": "mobilevit", "dim": 16, "depth": 10_000, "ffn": "2x"}
    survives(archc.load, {"stages": {"a": [{**deep, "repeat": 1000}] * 5}})
    survives(archc.load, {"stages": {"a": [{"block": "conv", "out": 8, "repeat": 1000}] * 5}})
    survives(archc.load, {"input": {"size": 65_536}, "stages": {"a": [{"block": "conv", "out": 1_000_000}]}})
