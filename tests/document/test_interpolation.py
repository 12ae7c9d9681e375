"""`${…}`: what it may refer to, and what is refused."""

from __future__ import annotations

import time
from typing import Any

import pytest
from omegaconf import OmegaConf

import archc
from tests.language.helpers import HANG_S, only, problems

STAGES = {"c1": [{"block": "conv", "out": 8}, {"block": "dropout", "rate": "${dropout}"}]}


def spec(**top: Any) -> dict[str, Any]:
    return {"stages": STAGES, **top}


def rate(source: Any, *overrides: str) -> Any:
    return archc.load(source, overrides).stages["c1"][1].rate


@pytest.mark.parametrize(
    ("top", "value"),
    [
        ({"dropout": 0.3}, 0.3),
        ({}, 0.0),  # the schema's own default
        ({"dropout": "${vars.p}", "vars": {"p": 0.4}}, 0.4),
        ({"dropout": "${vars.a.b}", "vars": {"a": {"b": 0.4}}}, 0.4),
        ({"dropout": "${vars.a.b}", "vars": {"a": "${vars.c}", "c": {"b": 0.4}}}, 0.4),
        ({"dropout": "${vars.list.1}", "vars": {"list": [0.1, 0.2]}}, 0.2),
        ({"dropout": "${vars.list[1]}", "vars": {"list": [0.1, 0.2]}}, 0.2),
        ({"dropout": "${vars[p]}", "vars": {"p": 0.4}}, 0.4),
        ({"dropout": "${ vars.p }", "vars": {"p": 0.4}}, 0.4),
        ({"dropout": "${drop_path.rate}", "drop_path": {"rate": 0.0}}, 0.0),
        ({"dropout": "${squeeze.ratio}"}, 0.25),  # of a group that is not given
        ({"dropout": "${norm.momentum}", "norm": {"eps": 0.1}}, 0.1),  # of one given in part
        ({"dropout": "${oc.decode:'0.5'}"}, 0.5),
    ],
)
def test_references(top: dict[str, Any], value: float) -> None:
    assert rate(spec(**top)) == value


def test_relative_references() -> None:
    assert rate(spec(dropout="${.vars.p}", vars={"p": "${.q}", "q": 0.3})) == 0.3
    stages = {
        "c1": [
            {"block": "conv", "out": 8, "kernel": "${..1.n}"},
            {"block": "conv", "out": 8, "groups": "${.kernel}", "kernel": 4},
        ]
    }
    with pytest.raises(archc.SpecError, match=r"`stages.c1.1` has no `n`"):
        archc.load({"stages": stages})
    assert archc.load({"stages": {"c1": stages["c1"][1:]}}).stages["c1"][0].groups == 4


def test_references_to_groups_lists_and_rows() -> None:
    source = {
        "vars": {"bn": {"eps": 0.5}, "rows": [{"block": "conv", "out": 8}]},
        "norm": "${vars.bn}",
        "input": {"mean": "${input.std}", "std": [1, 2, 3]},
        "stages": {"c1": "${vars.rows}", "c2": [{"block": "conv", "out": 16, "norm": "${vars.bn}"}, "${stages.c1.0}"]},
    }
    loaded = archc.load(source)
    assert loaded.norm.eps == 0.5
    assert loaded.input.mean == (1.0, 2.0, 3.0)
    assert [row.out for _, _, row in loaded.rows()] == [8, 16, 8]
    assert archc.report(loaded).params > 0


def test_text_around_references() -> None:
    loaded = archc.load(spec(name="net_${num_classes}-${vars.x}", num_classes=10, vars={"x": "a"}))
    assert loaded.name == "net_10-a"


def test_an_escaped_dollar_is_plain_text() -> None:
    assert archc.load(spec(vars={"a": r"\${b}", "c": r"x\\\${b}"})).vars == {"a": "${b}", "c": r"x\${b}"}


def test_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHC_TEST", "0.25")
    assert rate(spec(dropout="${oc.decode:${oc.env:ARCHC_TEST}}")) == 0.25
    assert archc.load(spec(vars={"x": "${oc.env:ARCHC_MISSING,default}"})).vars["x"] == "default"
    assert only(spec(vars={"x": "${oc.env:ARCHC_MISSING}"})).id == "interpolation"


def test_resolvers_that_python_registers() -> None:
    OmegaConf.register_new_resolver("archc_half", lambda x: x / 2, replace=True)
    try:
        assert rate(spec(dropout="${archc_half:1}")) == 0.5
    finally:
        OmegaConf.clear_resolver("archc_half")


def test_overrides_reach_what_refers_to_them() -> None:
    assert rate(spec(dropout=0.2), "dropout=0.5") == 0.5
    small = archc.load("mnv3_small")
    assert [
        archc.load("mnv3_small", ["dropout=0.5"]).stages["head"][2].rate,
        small.override(dropout=0.5).stages["head"][2].rate,
    ] == [0.5, 0.5]
    assert small.override(dropout=0.5, num_classes=10).stages["head"][3].out == 10
    assert small.override(dropout=0.5).override(dropout=0.25).stages["head"][2].rate == 0.25
    assert small.override({"stages.head.2.rate": 0.1}).override(dropout=0.5).stages["head"][2].rate == 0.1
    chained = archc.load(spec(dropout="${vars.p}", vars={"p": 0.1}))
    assert chained.override({"vars.p": 0.3}).stages["c1"][1].rate == 0.3
    assert chained.override(dropout=0.4).stages["c1"][1].rate == 0.4


@pytest.mark.parametrize(
    ("top", "says"),
    [
        ({"dropout": "${nothing}"}, "`${nothing}` names nothing: the spec has no `nothing`"),
        ({"dropout": "${vars.x}"}, "names nothing: the spec has no `vars`"),
        ({"dropout": "${vars.x}", "vars": {"y": 1}}, "names nothing: `vars` has no `x`"),
        ({"dropout": "${stages.c1.9.out}"}, "names nothing: `stages.c1` has no `9`"),
        ({"dropout": "${dropout}"}, "`${dropout}` refers, at last, to itself"),
        ({"dropout": "x${dropout}"}, "`x${dropout}` refers, at last, to itself"),
        ({"dropout": "${dropout.x}"}, "refers, at last, to itself"),
        ({"dropout": "${"}, "is not a reference"),
        ({"dropout": "${width_mult"}, "is not a complete interpolation"),
        ({"dropout": "${}"}, "is not a reference"),
        ({"dropout": "${width_mult} ${"}, "is not a reference"),
        ({"dropout": "${a b}"}, "is not a reference"),
        ({"dropout": "${1 + 1}"}, "is not a reference"),
        ({"dropout": "${${act}}"}, "is not a reference"),
        ({"dropout": "${vars.${act}}"}, "is not a reference"),
        ({"dropout": "${oc.select:width_mult}"}, "calls `oc.select`, which a spec does not know"),
        ({"dropout": "${oc.create:{a:1}}"}, "calls `oc.create`"),
        ({"dropout": "${oc.deprecated:act}"}, "calls `oc.deprecated`"),
        ({"dropout": "${mul:2,3}"}, "calls `mul`"),
        ({"dropout": "${eval:'1'}"}, "calls `eval`"),
        ({"tail": {"": "${"}}, "is not a reference"),
        ({"input": {"mean": {"0": "${x}"}}}, "names nothing"),
        ({"vars": {"a": "x" * 2000 + "${act}"}}, "a text with interpolations of more than 1,000 characters"),
    ],
)
def test_refusals(top: dict[str, Any], says: str) -> None:
    problem = only(spec(**top))
    assert problem.id in ("interpolation", "too-large")
    assert says in problem.message


def test_suggestions() -> None:
    assert only(spec(dropout="${width_mutl}")).label == "did you mean `width_mult`?"
    assert only(spec(dropout="${norm.epss}", norm={"eps": 1})).label == "did you mean `eps`?"


def test_a_circle_is_reported_once_for_each_member() -> None:
    found = problems(spec(vars={"a": "${vars.b}", "b": "${vars.c}", "c": "${vars.a}"}))
    assert [problem.id for problem in found] == ["interpolation"] * 3


def test_what_only_refers_to_a_problem_is_no_problem_of_its_own() -> None:
    assert only(spec(dropout="${nothing}")).message.startswith("`${nothing}`")
    assert only(spec(dropout=1.5)).message == "`dropout` must be less than 1, not `1.5`"
    assert len(problems(spec(dropout="${a}", width_mult="${b}"))) == 2


@pytest.mark.parametrize(
    "values",
    [
        {f"a{n}": f"${{vars.a{n - 1}}}${{vars.a{n - 1}}}" if n else "ha" for n in range(40)},
        {f"a{n}": f"${{.a{n - 1}}}${{.a{n - 1}}}" if n else "ha" for n in range(40)},
        {f"a{n}": f"${{vars[a{n - 1}]}}${{vars[a{n - 1}]}}" if n else "ha" for n in range(40)},
        {f"a{n}": [f"${{vars.a{n - 1}}}"] * 10 if n else "ha" for n in range(12)},
        {f"a{n}": {f"k{k}": f"${{vars.a{n - 1}}}" for k in range(10)} if n else "ha" for n in range(12)},
        {"a": "x" * 300_000, **{f"b{n}": "${vars.a}${vars.a}${vars.a}" for n in range(1000)}},
        {"a": list(range(20_000)), **{f"b{n}": "${vars.a}" for n in range(1000)}},
    ],
    ids=["absolute", "relative", "brackets", "lists", "mappings", "long texts", "long lists"],
)
def test_expansion_bombs(values: dict[str, Any]) -> None:
    start = time.monotonic()
    found = problems(spec(vars=values))
    assert time.monotonic() - start < HANG_S
    assert all("expands to more than 1,000 values" in problem.message for problem in found)


def test_long_chains() -> None:
    values = {f"a{n}": f"${{vars.a{n - 1}}}" if n else 0.5 for n in range(30)}
    assert rate(spec(dropout="${vars.a29}", vars=values)) == 0.5
