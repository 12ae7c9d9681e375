"""Overrides: Hydra's grammar, whole; errors that point into the override."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import archc
from archc.document import edits, overrides
from archc.document.library import bundled_directory
from archc.document.tree import Map, from_plain, plain, python_span
from archc.language.load import kind
from tests.language.helpers import only, pointed, problems

BASE: dict[str, Any] = {
    "x": 1, "name": "net", "empty": None, "m": {"a": 1, "deep": {"b": 2}}, "l": [1, 2, 3], "ll": [[1, 2], [3, 4]],
    "rows": [{"k": 1}, {"k": 2}], "stages": {"c1": [{"block": "conv", "out": 8}]}, "vars": {"v": 1},
}  # fmt: skip


def applied(*texts: str) -> Any:
    tree = from_plain(BASE, python_span("base"))
    assert isinstance(tree, Map)
    return plain(edits.apply(tree, overrides.parse(texts), kind(archc.REGISTRY)))


def changed(**keys: object) -> Any:
    return {**BASE, **keys}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x=2", 2), ("x=-2", -2), ("x=2.5", 2.5), ("x=1e-3", 0.001), ("x=true", True), ("x=null", None), ("x=", ""),
        ("x=abc", "abc"),
        ("x=a b", "a b"), ("x='a,b'", "a,b"), ('x="it\'s"', "it's"), ("x='1'", "1"), (r"x='it\'s'", "it's"),
        ("x=a-b/c.d", "a-b/c.d"),
        ("x=[1,2,3]", [1, 2, 3]), ("x=[]", []), ("x=[[1,2],[3]]", [[1, 2], [3]]),
        ("x=[a,'b c',true,null]", ["a", "b c", True, None]),
        ("x={a:1,b:{c:[d]}}", {"a": 1, "b": {"c": ["d"]}}), ("x={}", {}), ("x={1:2}", {"1": 2}), ("x=4x", "4x"),
        ("x=[4x,2.5x]", ["4x", "2.5x"]),
        ("x=${name}", "${name}"), ("x='${name}'", "${name}"), ("x=a${name}b", "a${name}b"), ("x=int('3')", 3),
        ("x=float(3)", 3.0),
        ("x=str(3)", "3"), ("x=bool('true')", True), ("x=1_000", 1000), ("x=[1, 2]", [1, 2]), ("x= 3", 3),
    ],
)  # fmt: skip
def test_values_of_every_form(text: str, value: object) -> None:
    assert applied(text) == changed(x=value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m.a=5", changed(m={"a": 5, "deep": {"b": 2}})),
        ("m.deep.b=5", changed(m={"a": 1, "deep": {"b": 5}})),
        ("m={a:5}", changed(m={"a": 5, "deep": {"b": 2}})),
        ("m={deep:{c:5}}", changed(m={"a": 1, "deep": {"b": 2, "c": 5}})),
        ("m=5", changed(m=5)),
        ("l.0=5", changed(l=[5, 2, 3])),
        ("l=[5]", changed(l=[5])),
        ("ll.1.0=5", changed(ll=[[1, 2], [5, 4]])),
        ("rows.1.k=5", changed(rows=[{"k": 1}, {"k": 5}])),
        ("rows.0={j:3}", changed(rows=[{"k": 1, "j": 3}, {"k": 2}])),
        ("stages.c1.0.out=9", changed(stages={"c1": [{"block": "conv", "out": 9}]})),
        ("+stages.c2=[{block:pool}]", changed(stages={**BASE["stages"], "c2": [{"block": "pool"}]})),
        ("+vars.w=2", changed(vars={"v": 1, "w": 2})),
        ("+vars.w.u=2", changed(vars={"v": 1, "w": {"u": 2}})),
        ("++vars.v=2", changed(vars={"v": 2})),
        ("++vars.w=2", changed(vars={"v": 1, "w": 2})),
        ("+l.3=4", changed(l=[1, 2, 3, 4])),
        ("++l.3=4", changed(l=[1, 2, 3, 4])),
        ("++l.0=4", changed(l=[4, 2, 3])),
        ("+rows.2={k:3}", changed(rows=[{"k": 1}, {"k": 2}, {"k": 3}])),
        ("~x", {k: v for k, v in BASE.items() if k != "x"}),
        ("~x=1", {k: v for k, v in BASE.items() if k != "x"}),
        ("~m.deep", changed(m={"a": 1})),
        ("~l.1", changed(l=[1, 3])),
        ("~l.1=2", changed(l=[1, 3])),
        ("~rows.0", changed(rows=[{"k": 2}])),
        ("~stages.c1.0", changed(stages={"c1": []})),
        ("norm.eps=1", changed(norm={"eps": 1})),
        ("squeeze.rounding.divisor=4", changed(squeeze={"rounding": {"divisor": 4}})),
        ("table.defaults.groups=2", changed(table={"defaults": {"groups": 2}})),
        ("stages.c1.0.norm.eps=1", changed(stages={"c1": [{"block": "conv", "out": 8, "norm": {"eps": 1}}]})),
    ],
)
def test_actions(text: str, expected: object) -> None:
    assert applied(text) == expected


def test_overrides_apply_in_order() -> None:
    assert applied("x=2", "x=3", "+l.3=4", "+l.4=5", "~l.0", "l.0=9") == changed(x=3, l=[9, 3, 4, 5])


COMMON = [
    ["width_mult=0.75"], ["norm.eps=0.5"], ["norm={eps: 0.5}"], ["stages.c4.0.out=48"], ["+vars={a: 1}"],
    ["++vars.a=1"], ["~dropout"], ["tail=[c5]", "tail.0=head"], ["input.mean.1=0"], ["~norm.eps"],
    ["init.linear={normal: 0.1}"],
    ["name='a b'", "num_classes=10"], ["stages.head=null"], ["stages.c4.0={out: 1}"],
]  # fmt: skip


@pytest.mark.parametrize("texts", COMMON, ids=" ".join)
def test_what_hydra_can_do_too_ends_the_same(texts: list[str]) -> None:
    """On mobilenet_v2's mapping rows and settings, our application equals Hydra's own."""
    with initialize_config_dir(config_dir=str(bundled_directory()), version_base="1.3"):
        base = OmegaConf.to_container(compose("mnv3_small"), resolve=False)
        base["stages"]["c4"][0] = {"out": 40, "kernel": 3}  # type: ignore[index, call-overload]
        tree = from_plain(base, python_span("base"))
        assert isinstance(tree, Map)
        from hydra._internal.config_loader_impl import ConfigLoaderImpl

        config = OmegaConf.create(base)  # type: ignore[arg-type]
        ConfigLoaderImpl._apply_overrides_to_config(overrides_parser(texts), config)  # type: ignore[arg-type]
    assert plain(edits.apply(tree, overrides.parse(texts), kind(archc.REGISTRY))) == OmegaConf.to_container(config)


def overrides_parser(texts: list[str]) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_overrides(texts)


SPEC = "mnv3_small"


@pytest.mark.parametrize(
    ("text", "id", "at", "label", "says"),
    [
        ("width_mul=0.5", "unknown-key", "width_mul", "did you mean `width_mult`?", "not a key of a spec"),
        ("widht_mult.x=0.5", "unknown-key", "widht_mult", "did you mean `width_mult`?", "the spec has no"),
        ("+nothing=1", "unknown-key", "nothing", "", "not a key of a spec"),
        ("~nothing", "unknown-key", "nothing", "", "the spec has no `nothing`"),
        ("norm.epsilon=1", "unknown-key", "epsilon", "did you mean `eps`?", "not a key of `norm`"),
        ("norm={epsilon:1}", "unknown-key", "{epsilon:1}", "did you mean `eps`?", "not a key of `norm`"),
        ("squeeze.roundin.divisor=4", "unknown-key", "roundin", "", "`squeeze` has no `roundin`"),
        ("width_mult.x=1", "unknown-key", "x", "", "`width_mult` is a single value"),
        ("stages.c44.0.out=1", "unknown-key", "c44", "did you mean `c4`?", "`stages` has no `c44`"),
        ("stages.c44=[]", "unknown-key", "c44", "did you mean `c4`?", "`stages` has no `c44`"),
        ("stages.c4.9.out=1", "unknown-key", "9", "its items are 0 to 4", "`stages.c4` has no item `9`"),
        ("stages.c4.out=1", "unknown-key", "out", "its items are 0 to 4", "`stages.c4` has no item `out`"),
        ("stages.c4.5={block:pool}", "unknown-key", "5", "its items are 0 to 4", "`stages.c4` has no item `5`"),
        ("+stages.c4.7={block:pool}", "unknown-key", "7", "its items are 0 to 4", "`stages.c4` has no item `7`"),
        ("~stages.c4.9", "unknown-key", "9", "its items are 0 to 4", "`stages.c4` has no item `9`"),
        ("stages.c4.0.ot=1", "unknown-key", "ot", "did you mean `out`?", "`ot` is not a key of `inverted_residual`"),
        ("stages.c4.0.ot.x=1", "unknown-key", "ot", "did you mean `out`?", "`ot` is not a key of `inverted_residual`"),
        ("vars.x=1", "unknown-key", "x", "", "`vars` has no `x`"),
        ("defaults=[mnv3_large]", "unknown-key", "defaults", "", "cannot be overridden"),
        ("width_mult=abc", "invalid-value", "abc", "", "`width_mult` must be a number, not `abc`"),
        ("width_mult=nan", "invalid-value", "nan", "", "`width_mult` must be a finite number, not `nan`"),
        ("width_mult=1e9", "invalid-value", "1e9", "", "`width_mult` must be at most 100"),
        ("width_mult=", "invalid-value", "", "", '`width_mult` must be a number, not `""`'),
        ("stages.c4.0.act=hswish", "invalid-value", "hswish", "did you mean `hardswish`?", "`act` cannot be"),
        ("stages.c4.0=3", "invalid-value", "3", "", "a row is a list or a mapping, not `3`"),
        ("stages.c4=3", "invalid-value", "3", "", "stage `c4` must be a list of rows"),
        ("stages.c4.0.block=cnv", "unknown-block", "cnv", "did you mean `conv`?", "there is no block `cnv`"),
        ("stages.c4.0=[1,2]", "row-length", "[1,2]", "too short", "this row has 2 cells, the table has 6 columns"),
        ("outputs=[c3,c9]", "unknown-reference", "[c3,c9]", "", "there is no stage `c9`"),
        ("dropout=${dropuot}", "interpolation", "${dropuot}", "did you mean `dropout`?", "names nothing"),
        ("+width_mult=1", "override-conflict", "width_mult", "", "`width_mult` exists already"),
        ("~dropout=0.5", "override-conflict", "0.5", "", "`dropout` is not 0.5, so it was not deleted"),
        ("width_mult=0.5,1", "override-syntax", "0.5,1", "", "is a sweep"),
        ("width_mult=range(1,3)", "override-syntax", "range(1,3)", "", "is a sweep"),
        ("width_mult=choice(1,3)", "override-syntax", "choice(1,3)", "", "is a sweep"),
        ("width_mult", "override-syntax", "width_mult", "", "has no value"),
        ("width_mult:1", "override-syntax", "width_mult:1", "", "is no override"),
        ("", "override-syntax", "", "", "an empty override"),
        ("=1", "override-syntax", "=", "", "an override without a key"),
        ("--width_mult=1", "override-syntax", "--width_mult", "", "is no key"),
        ("stages.c4[0].out=1", "override-syntax", "stages.c4[0].out", "", "is no key"),
        ("stages.c4.-1.out=1", "override-syntax", "stages.c4.-1.out", "", "is no key"),
        ("input@x=1", "override-syntax", "input@x", "", "is no key"),
        ("width_mult=[1", "override-syntax", "[1", "", "cannot read the value"),
        ("width_mult=a=b", "override-syntax", "a=b", "", "cannot read the value"),
        ("width_mult=1 dropout=0", "override-syntax", "1 dropout=0", "", "two overrides in one"),
        ("width_mult=interval(0,1)", "override-syntax", "interval(0,1)", "", "no list of values"),
        ("width_mult=glob(*)", "override-syntax", "glob(*)", "", "glob"),
        ("width_mult=1\nname=x", "override-syntax", None, "", "a character that cannot be seen"),
        ("name=" + "x" * 20_000, "override-syntax", None, "", "more than 10,000 characters"),
        ("name=" + "[" * 2_000, "override-syntax", None, "", "cannot read the value"),
        ("vars=" + "[" * 60 + "]" * 60, "too-deep", None, "", "nested more than"),
    ],
)  # fmt: skip
def test_errors_point_into_the_override(text: str, id: str, at: str | None, label: str, says: str) -> None:
    problem = only(SPEC, [text])
    assert problem.id == id
    assert says in problem.message
    assert problem.label == label
    assert problem.span is not None
    assert problem.span.source.kind == "override"
    if at is not None:
        assert pointed(problem.span) == at


@pytest.mark.parametrize(
    "text", ["stages[c4][0].out=3", "x y=1", "width_mult=[1", "a=b=c", "=", "+", "~", "++x", "a=${", "a='", "'a'=1"]
)
def test_no_parser_jargon(text: str) -> None:
    said = str(only(SPEC, [text]))
    for word in ("EQUAL", "EOF", "token", "mismatched", "viable", "extraneous", "Hydra", "antlr", "pydantic"):
        assert word not in said


def test_all_bad_overrides_are_reported() -> None:
    found = problems(SPEC, ["norm.epsilon=1", "width_mult=abc", "stages.c4.0.act=swish", "dropout=2"])
    assert {pointed(problem.span) for problem in found} == {"epsilon", "abc", "swish", "2"}
    assert len(problems(SPEC, ["a b=1", "=2"])) == 2
    assert len(problems(SPEC, ["stages.c9.0=1", "stages.c4.9.out=1", "~nothing"])) == 3


def test_tables_are_read_before_overrides() -> None:
    spec = archc.load(SPEC, ["stages.c4.0.out=48", "stages.c2.0.kernel=5", "stages.c3.0.groups=4"])
    stages = spec.stages
    assert (stages["c4"][0].out, stages["c2"][0].kernel, stages["c3"][0].groups) == (48, (5, 5), 4)


def test_rows_by_override_may_be_lists() -> None:
    spec = archc.load(SPEC, ["+stages.c4.5=[3,6x,48,false,relu,1]", "stages.c3=[[3,4x,32,false,relu,2]]"])
    assert spec.stages["c4"][5].kernel == (3, 3)
    assert [row.out for row in spec.stages["c3"]] == [32]


def test_overriding_the_table_changes_how_rows_are_read() -> None:
    plain_rows = archc.load("resnet50").stages["c3"][0]
    assert plain_rows.groups == 1
    for text in ("table.defaults.groups=32", "table.defaults={groups:32}", "++table.defaults.groups=32"):
        spec = archc.load("resnet50", [text])
        assert spec.stages["c3"][0].groups == 32
        assert spec.stages["stem"][0].groups == 1  # of another block
    for text in ("table.defaults.groups=2", "+table.defaults.groups=2"):  # where the file gives no `table.defaults`
        assert archc.load(SPEC, [text]).stages["c2"][0].groups == 2
    swapped = archc.load("resnet50", ["table.columns=[out,expand,repeat,stride]"])
    assert (swapped.stages["c2"][0].out, swapped.stages["c2"][0].expand) == (64, 256)


def test_a_stage_set_to_null_is_gone() -> None:
    for text in ("~stages.head", "stages.head=null"):
        with pytest.warns(archc.SpecWarning, match="dropout"):
            assert "head" not in archc.load(SPEC, [text]).stages


def test_python_overrides() -> None:
    spec = archc.load(SPEC, ["num_classes=10"])
    other = spec.override({"stages.c4.0.out": 48, "input.size": (96, 128)}, width_mult=0.5, dropout=0.5)
    assert other == archc.load(
        SPEC, ["num_classes=10", "stages.c4.0.out=48", "input.size=[96,128]", "width_mult=0.5", "dropout=0.5"]
    )
    assert spec == archc.load(SPEC, ["num_classes=10"])
    assert other.override(width_mult=1.0, dropout=0.2).override({"stages.c4.0.out": 40, "input.size": 224}) == spec
    rate = other.stages["head"][2].rate
    assert rate == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width_mul": 1.0}, "`width_mul` is not a key of a spec"),
        ({"width_mult": "x"}, "`width_mult` must be a number, not `x`"),
        ({"stages.c4.9.out": 1}, "`stages.c4` has no item `9`"),
        ({"stages.c4.0.out": 0}, "`out` must be between 1 and 1,000,000 channels, not `0`"),
        ({"outputs": ["c9"]}, "there is no stage `c9`"),
        ({"vars.x": 1}, "`vars` has no `x`"),
        ({"width_mult": object}, "`width_mult` must be a number"),
    ],
)
def test_python_overrides_report_like_the_others(changes: dict[str, object], message: str) -> None:
    spec = archc.load(SPEC)
    with pytest.raises(archc.SpecError) as caught:
        archc.lower(spec.override(changes))
    (problem,) = caught.value.diagnostics
    assert problem.message.startswith(message)
    assert "+" not in problem.help  # Python code has no `+`


def test_errors_pickle() -> None:
    with pytest.raises(archc.SpecError) as caught:
        archc.load(SPEC, ["width_mult=abc", "nothing=1"])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert copy.diagnostics == caught.value.diagnostics
    assert str(copy) == str(caught.value)


def swept(*texts: str) -> list[tuple[list[str], archc.Spec]]:
    return [([change.text for change in chosen], spec) for chosen, spec in archc.sweep(SPEC, texts)]


def test_sweeps_combine_in_hydras_order() -> None:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    texts = [
        "width_mult=0.5,0.75",
        "dilated=true,false",
        "num_classes=range(2,4)",
        "act=choice(relu,silu)",
        "dropout=0.1",
    ]
    (batch,) = BasicSweeper.split_arguments(overrides_parser(texts), None)
    assert [chosen for chosen, _ in swept(*texts)] == [[text.lower() for text in chosen] for chosen in batch]
    widths = [(spec.width_mult, spec.dilated, spec.num_classes, spec.act) for _, spec in swept(*texts)]
    assert len(set(widths)) == len(widths) == 16


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("width_mult=0.5,1", [0.5, 1.0]), ("width_mult=range(1,3)", [1.0, 2.0]),
        ("width_mult=range(0.5,1.6,0.5)", [0.5, 1.0, 1.5]),
        ("width_mult=choice(0.5,2)", [0.5, 2.0]), ("width_mult=sort(2,1)", [1.0, 2.0]),
        ("width_mult=sort(1,2,reverse=true)", [2.0, 1.0]),
        ("width_mult=tag(a,choice(1,2))", [1.0, 2.0]), ("width_mult=0.5", [0.5]),
    ],
)  # fmt: skip
def test_sweeps_of_every_form(text: str, values: list[float]) -> None:
    assert [spec.width_mult for _, spec in swept(text)] == values


def test_sweeps_of_texts_lists_and_mappings() -> None:
    chosen = swept("outputs=[c3],[c3,c4]", "norm={eps:0.1},{eps:0.2}", "name='a','b'")
    assert len(chosen) == 8
    assert chosen[-1][0] == ["outputs=[c3,c4]", "norm={eps:0.2}", "name=b"]
    assert chosen[-1][1].norm.eps == 0.2


def test_an_endless_sweep_is_refused() -> None:
    for text in ("width_mult=range(0,1,0.0000001)", "width_mult=range(0,1000000000)"):
        with pytest.raises(archc.SpecError, match="more than 100,000 combinations"):
            next(archc.sweep(SPEC, [text]))


def test_a_sweep_reports_the_value_that_is_wrong() -> None:
    with pytest.raises(archc.SpecError) as caught:
        list(archc.sweep(SPEC, ["width_mult=0.5,abc"]))
    (problem,) = caught.value.diagnostics
    assert pointed(problem.span) == "abc"
    assert problem.span is not None
    assert problem.span.source.name == "override `width_mult=abc`"
