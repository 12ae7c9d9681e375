"""References: `from`, `outputs`, `to`, `tail`, and what each may name."""

from __future__ import annotations

from typing import Any

import pytest

import archc
from archc.language import wiring
from archc.language.wiring import INPUT, Tap
from tests.language.helpers import Folder, only, pointed, problems

pytestmark = pytest.mark.filterwarnings("ignore:.*unused-row:archc.SpecWarning")
"""Most of these specs leave rows unread; `tests/language/test_lint.py` tests the warning."""


def conv(out: int = 8, **keys: Any) -> dict[str, Any]:
    return {"block": "conv", "out": out, **keys}


def spec(outputs: Any = None, **stages: Any) -> dict[str, Any]:
    return {"stages": stages, **({} if outputs is None else {"outputs": outputs})}


THREE = {"c1": [conv(), conv()], "c2": [conv(16, stride=2)], "c3": [conv(24)]}


def test_rows_follow_each_other() -> None:
    wires = wiring.inputs(archc.load(spec(**THREE)))
    assert wires == {
        ("c1", 0): (INPUT,),
        ("c1", 1): (Tap("c1", 0),),
        ("c2", 0): (Tap("c1", 1),),
        ("c3", 0): (Tap("c2", 0),),
    }


@pytest.mark.parametrize(
    ("reference", "tap"),
    [
        ("input", INPUT),
        ("c1", Tap("c1", 1)),
        ("c1.0", Tap("c1", 0)),
        ("c1.1", Tap("c1", 1)),
        ("c2", Tap("c2", 0)),
        ("c1.0.conv", Tap("c1", 0, "conv")),
    ],
)
def test_what_a_reference_names(reference: str, tap: Tap) -> None:
    loaded = archc.load(spec(**{**THREE, "c3": [conv(24, **{"from": reference})]}))
    assert wiring.inputs(loaded)["c3", 0] == (tap,)
    assert archc.lower(loaded).nodes


def test_several_inputs() -> None:
    stages = {"c1": [conv()], "c2": [conv()], "sum": [{"block": "add", "from": ["c1", "c2", "c1.0"]}]}
    assert wiring.inputs(archc.load(spec(**stages)))["sum", 0] == (Tap("c1", 0), Tap("c2", 0), Tap("c1", 0))


def test_reference_columns_come_after_from() -> None:
    loaded = archc.load(spec(**THREE, up=[{"block": "resize", "from": "c2", "to": "input"}]))
    assert wiring.inputs(loaded)["up", 0] == (Tap("c2", 0), INPUT)


@pytest.mark.parametrize(
    ("reference", "id", "says", "hint"),
    [
        ("c9", "unknown-reference", "there is no stage `c9`", ""),
        ("inptu", "unknown-reference", "there is no stage `inptu`", "did you mean `input`?"),
        ("c1.2", "unknown-reference", "stage `c1` has no row `2`", "its rows are c1.0 to c1.1"),
        ("c1.x", "unknown-reference", "stage `c1` has no row `x`", "its rows are c1.0 to c1.1"),
        ("c1.9999999999999999999999", "unknown-reference", "stage `c1` has no row", "its rows are c1.0 to c1.1"),
        ("c2", "forward-reference", "`c2.0` takes its input from `c2`", ""),
        ("c2.0", "forward-reference", "`c2.0` takes its input from `c2.0`", ""),
        ("c3", "forward-reference", "`c2.0` takes its input from `c3`", ""),
        ("c1.0.nothing", "unknown-reference", "row `c1.0` has no part `nothing`", ""),
        ("c 1", "invalid-value", "`from` must be a reference such as", ""),
        (3, "invalid-value", "`from` must be a reference such as", ""),
        ([], "invalid-value", "`from` must be a reference such as", ""),
        ({}, "invalid-value", "`from` must be a reference such as", ""),
        (["c1", 3], "invalid-value", "an item of `from` must be a reference", ""),
        ({"x": 3}, "invalid-value", "`x` must be a reference", ""),
    ],
)
def test_bad_references(reference: Any, id: str, says: str, hint: str) -> None:
    problem = only(spec(**{**THREE, "c2": [conv(16, **{"from": reference})]}))
    assert problem.id == id
    assert problem.message.startswith(says)
    if hint:
        assert problem.label == hint


def test_every_bad_reference_is_listed() -> None:
    stages = {"c1": [conv(**{"from": "a1"})], "c2": [conv(**{"from": "c3"})], "c3": [{"block": "resize", "to": "b1"}]}
    assert {problem.message.split("`")[1] for problem in problems(spec(**stages))} == {"a1", "c2.0", "b1"}


def test_carets_stand_under_the_reference(folder: Folder) -> None:
    text = "outputs: {low: c1, high: c8}\nstages:\n  c1: [{block: conv, out: 8}, {block: add, from: [c1.0, c9]}]\n"
    problem = only(folder.write("a.yaml", text))
    assert pointed(problem.span) == "c9"
    problem = only(folder.write("b.yaml", text.replace("c9", "c1.0")))
    assert pointed(problem.span) == "c8"
    problem = only(folder.write("c.yaml", text.replace("c9", "c1.0").replace("{low: c1, high: c8}", "[c1, c7]")))
    assert pointed(problem.span) == "c7"


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        (None, {"c3": "c3"}),
        ("c2", {"c2": "c2"}),
        ("c1.0", {"c1.0": "c1.0"}),
        (["c1", "c3"], {"c1": "c1", "c3": "c3"}),
        (["c3", "c1"], {"c3": "c3", "c1": "c1"}),
        ({"low": "c1", "high": "c3"}, {"low": "c1", "high": "c3"}),
        ({"a": "c1", "b": "c1"}, {"a": "c1", "b": "c1"}),
        (["input", "c1"], {"input": "input", "c1": "c1"}),
    ],
)
def test_outputs(outputs: Any, names: dict[str, str]) -> None:
    loaded = archc.load(spec(outputs, **THREE))
    assert list(wiring.outputs(loaded)) == list(names)
    graph = archc.lower(loaded)
    assert list(graph.outputs) == list(names)
    assert graph.single == (outputs is None or isinstance(outputs, str))
    for key, reference in names.items():
        tap = wiring.tap(loaded, reference, ())
        expected = "input" if tap == INPUT else f"{tap.stage}.{tap.row}"
        assert graph.outputs[key].startswith(expected)


def test_what_no_output_needs_is_pruned() -> None:
    graph = archc.lower(archc.load(spec("c2", **THREE)))
    assert {region.name for region in graph.regions} == {"c1.0", "c1.1", "c2.0"}
    graph = archc.lower(archc.load(spec("c3", **{**THREE, "c3": [conv(24, **{"from": "c1.0"})]})))
    assert {region.name for region in graph.regions} == {"c1.0", "c3.0"}


@pytest.mark.parametrize(
    ("outputs", "id", "says"),
    [
        (["c1", "c1"], "duplicate-output", "`outputs` names `c1` twice"),
        (["c1", "c9"], "unknown-reference", "there is no stage `c9`"),
        ({"a": "c9", "b": "c1"}, "unknown-reference", "there is no stage `c9`"),
        ("c9", "unknown-reference", "there is no stage `c9`"),
        ("c1.0.nothing", "unknown-reference", "row `c1.0` has no part `nothing`"),
        ([], "invalid-value", "`outputs` must be a reference"),
        ({}, "invalid-value", "`outputs` must be a reference"),
        (3, "invalid-value", "`outputs` must be a reference"),
        ([["c1"]], "invalid-value", "an item of `outputs` must be a reference"),
    ],
)
def test_bad_outputs(outputs: Any, id: str, says: str) -> None:
    problem = only(spec(outputs, **THREE))
    assert (problem.id, problem.message[: len(says)]) == (id, says)


def test_parts_of_a_row() -> None:
    row = {"block": "inverted_residual", "expand": 48, "out": 16}
    graph = archc.lower(archc.load(spec({"mid": "c1.0.expand", "out": "c1"}, c1=[row])))
    shapes = graph.shapes()
    assert {key: shapes[name].channels for key, name in graph.outputs.items()} == {"mid": 48, "out": 16}
    only_mid = archc.lower(archc.load(spec("c1.0.expand", c1=[row])))
    assert all(node.name.startswith(("input", "c1.0.expand")) for node in only_mid.nodes)


def test_parts_that_a_row_does_not_have_are_found_where_they_are_asked_for(folder: Folder) -> None:
    text = """name: net
stages:
  c1:
    - {block: inverted_residual, expand: 48, out: 16}
  c2:
    - {block: conv, out: 8, from: c1.0.exapnd}
outputs: {good: c1.0.expand, bad: c1.0.squeeze, end: c2}
"""
    file = folder.write("net.yaml", text)
    with pytest.raises(archc.SpecError) as caught:
        archc.lower(archc.load(file))
    found = [(d.message, d.span.line, d.span.column, d.label) for d in caught.value.diagnostics if d.span]
    assert found == [
        ("row `c1.0` has no part `exapnd`", 6, 35, "did you mean `expand`?"),
        ("row `c1.0` has no part `squeeze`", 7, 35, "one of: `expand`, `depthwise`, `project`"),
    ]
