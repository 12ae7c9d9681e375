"""What the spec alone shows to be probably not meant: settings without effect, rows that nothing reads."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import archc
from archc.document.diagnostics import Diagnostic
from tests.language.helpers import BUNDLED, Folder, pointed


def found(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> list[Diagnostic]:
    """The warnings of a spec, and of its lowering."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", archc.SpecWarning)
        spec = archc.load(source, overrides)
        return [*spec.warnings, *archc.lower(spec).warnings]


def about(id: str, source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> list[str]:
    """The messages of the warnings of one kind."""
    problems = [problem for problem in found(source, overrides) if problem.id == id]
    assert all(problem.severity == "warning" for problem in problems)
    return [problem.message for problem in problems]


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_specs_are_clean(name: str) -> None:
    assert {problem.id for problem in found(name)} <= {"same-stride"}


BRANCHES = {
    "stem": [{"block": "conv", "out": 8, "stride": 4}],
    "a": [{"block": "conv", "out": 8, "stride": 4, "from": "stem"}],
    "b": [{"block": "conv", "out": 8, "stride": 4, "from": "stem"}],
    "sum": [{"block": "add", "from": ["a", "b"]}],
}


def test_strides_multiply_along_the_wires() -> None:
    """The rows' strides multiply to 64, but no path has more than 16."""
    unused = about("unused-setting", {"output_stride": 16, "stages": BRANCHES})
    assert unused == ["`output_stride` has no effect: the largest total stride of a row is 16, which is within 16"]
    assert not about("unused-setting", {"output_stride": 8, "stages": BRANCHES})
    assert len(about("unused-setting", {"dilated": True, "stages": BRANCHES})) == 1


def test_a_row_that_nothing_reads() -> None:
    stages = {**BRANCHES, "sum": [{"block": "add", "from": ["a", "a"]}]}
    assert about("unused-row", {"stages": stages}) == [
        "nothing reads the output of `b.0` (`conv`), so the network is built without it"
    ]
    assert about("unused-row", {"stages": BRANCHES}) == []


def test_a_wrong_from_is_found_where_the_row_is_written(folder: Folder) -> None:
    text = "stages:\n  a:\n    - {block: conv, out: 8}\n    - {block: conv, out: 9}\n  b:\n"
    path = folder.write("my.yaml", text + "    - {block: conv, out: 8, from: a.0}\n")
    (problem,) = found(path)
    assert (problem.id, pointed(problem.span)) == ("unused-row", "{block: conv, out: 9}")
    child = folder.write("child.yaml", "defaults: [mnv3_small, _self_]\nstages: {c5: {0: {from: c3}}}\n")
    assert [message[:35] for message in about("unused-row", child)] == ["nothing reads the output of `c4.4` "]


@pytest.mark.parametrize(
    "overrides",
    [["outputs=[c3,c4,c5]"], ["outputs=c4.1"], ["outputs={a:c2.0.depthwise}"], ["outputs=input"], ["~stages.head"]],
)
def test_outputs_cut_off_on_purpose(overrides: list[str]) -> None:
    assert about("unused-row", "mnv3_small", overrides) == []


def test_outputs_do_not_excuse_rows_above_them() -> None:
    for changes in (["outputs=[c3,c5]", "stages.c5.0.from=c3.0"], ["outputs=[c5]", "stages.c5.0.from=c3"]):
        (message,) = about("unused-row", "mnv3_small", changes)
        assert message.startswith("nothing reads the output of `c4.4`")


def test_a_head_cuts_off_the_end_of_the_backbone() -> None:
    rows = [{"block": "conv", "out": 8}, {"block": "conv", "out": 16}]
    head = {"block": "deeplab_v3", "from": "a.0", "channels": 8, "out": 2, "rates": [2]}
    assert about("unused-row", {"stages": {"a": rows, "head": [head]}}) == []
    taps = {"block": "add", "from": ["a.0", "a.0"]}
    assert len(about("unused-row", {"stages": {"a": rows, "head": [taps]}})) == 1


def test_references_that_do_not_resolve_are_left_to_lowering() -> None:
    stages = {**BRANCHES, "sum": [{"block": "add", "from": ["a", "nothing"]}]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spec = archc.load({"output_stride": 16, "stages": stages})
    with pytest.raises(archc.SpecError, match="there is no stage `nothing`"):
        archc.lower(spec)


def test_without_its_pool_a_network_takes_one_size() -> None:
    (message,) = about("fixed-size", "mnv3_small", ["~stages.head.0"])
    assert message == "row `head.0` (linear) flattens 576×7×7, which ties the network to the input size 224×224"
    assert about("fixed-size", "mnv3_small", ["~stages.head.0", "+stages.head.0.flatten=true"]) == []
    with pytest.raises(archc.SpecError, match="`flatten` is false"):
        found("mnv3_small", ["~stages.head.0", "+stages.head.0.flatten=false"])
    assert about("fixed-size", "mnv3_small", ["+stages.head.1.flatten=false"]) == []  # one position: nothing is lost


LINEAR = {"block": "linear", "out": 4}
CONV = {"block": "conv", "out": 8}


@pytest.mark.parametrize(
    ("rows", "warned"),
    [
        ([CONV, LINEAR], True),
        ([{"block": "pool"}, LINEAR], False),
        ([{"block": "pool"}, CONV, {"block": "dropout"}, LINEAR], False),
        # 1×1 for inputs of this size only:
        ([{"block": "conv", "out": 8, "stride": 16}, LINEAR], True),
        # As large as the input again:
        ([{"block": "pool"}, {"block": "resize", "to": "input"}, LINEAR], True),
        ([{"block": "pool"}, LINEAR, LINEAR], False),
        ([{"block": "dropout"}, LINEAR], True),
    ],
)
def test_which_sizes_follow_from_the_input(rows: list[dict[str, Any]], warned: bool) -> None:
    assert bool(about("fixed-size", {"input": {"size": 16}, "stages": {"a": rows}})) == warned


def test_classes_that_a_multiplier_changes(folder: Folder) -> None:
    text = (
        "num_classes: 1000\ntail: [head]\nstages:\n  a:\n    - {block: pool}\n"
        '  head:\n    - {block: linear, out: "${num_classes}"}\n'
    )
    path = folder.write("my.yaml", text)
    assert about("scaled-classes", path) == []
    (problem,) = found(path, ["width_mult=0.5"])
    assert problem.message == "`out` is 504, but there are 1,000 classes: `width_mult` scales it"
    assert pointed(problem.span) == '"${num_classes}"'
    assert about("scaled-classes", path, ["reduced_tail=true"]) == [
        "`out` is 500, but there are 1,000 classes: `reduced_tail` scales it"
    ]
    assert about("scaled-classes", path, ["width_mult=0.5", "num_classes=16"]) != []
    assert about("scaled-classes", path, ["width_mult=0.5", "stages.head.0.out=1000"]) == []  # a width, not the classes
    assert about("scaled-classes", path, ["width_mult=0.5", "+stages.head.0.scale=fixed"]) == []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        archc.lower(archc.load(path).override(width_mult=0.5))
    assert [("scaled-classes" in str(warning.message)) for warning in caught] == [True]
