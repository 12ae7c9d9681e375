"""Each pass against what one works out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

import archc
from archc import passes
from archc.language.values import Ratio
from archc.passes import atrous, drop_path, reduce_tail, repeat, scale_width

UNREAD = pytest.mark.filterwarnings("ignore:.*unused-row:archc.SpecWarning")
"""For specs with rows that nothing reads."""


def conv(out: Any = 8, **keys: Any) -> dict[str, Any]:
    return {"block": "conv", "out": out, **keys}


def mbconv(expand: Any, out: Any, **keys: Any) -> dict[str, Any]:
    return {"block": "inverted_residual", "expand": expand, "out": out, **keys}


def spec(stages: dict[str, Any], **top: Any) -> archc.Spec:
    return archc.load({"stages": stages, **top})


def column(rewritten: archc.Spec, name: str) -> list[Any]:
    return [getattr(row, name, None) for _, _, row in rewritten.rows()]


def only_problem(source: archc.Spec, after: str) -> archc.Diagnostic:
    with pytest.raises(archc.SpecError) as caught:
        passes.run(source, after)
    (problem,) = caught.value.diagnostics
    return problem


def test_the_order_is_fixed() -> None:
    assert list(passes.PASSES) == ["heads", "repeat", "reduce_tail", "atrous", "scale_width", "drop_path"]


def test_run_stops_after_the_named_pass() -> None:
    loaded = archc.load("mobilenet_v2", ["width_mult=0.5"])
    assert passes.run(loaded, "repeat") == repeat(loaded)
    assert passes.run(loaded, "repeat").width_mult == 0.5
    assert passes.run(loaded, "drop_path") == passes.run(loaded)
    with pytest.raises(KeyError):
        passes.run(loaded, "nothing")


def test_passes_leave_their_input_alone() -> None:
    loaded = archc.load("mnv3_large", ["reduced_tail=true", "dilated=true", "width_mult=0.5", "drop_path=0.1"])
    before = repr(loaded)
    assert passes.run(loaded) != loaded
    assert repr(loaded) == before


@pytest.mark.parametrize("name", ["mnv3_large", "mobilevit_s", "resnet50", "efficientnet_lite0"])
def test_every_pass_is_done_after_itself(name: str) -> None:
    loaded = archc.load(name, ["width_mult=0.5", "output_stride=8"])
    for after, rewrite in passes.PASSES.items():
        done = passes.run(loaded, after)
        assert rewrite(done) == done


# --- repeat ---


def test_repeat_strides_once() -> None:
    done = repeat(spec({"c1": [mbconv("6x", 24, repeat=3, stride=2)], "c2": [conv(8, repeat=2)]}))
    assert column(done, "stride") == [2, 1, 1, 1, 1]
    assert column(done, "out") == [24, 24, 24, 8, 8]
    assert column(done, "repeat") == [None] * 5
    assert [len(rows) for rows in done.stages.values()] == [3, 2]


@UNREAD
def test_only_the_first_repeated_row_has_the_wiring() -> None:
    stages = {"c1": [conv()], "c2": [conv()], "c3": [conv(repeat=2, **{"from": "c1"})]}
    assert column(repeat(spec(stages)), "from_") == [None, None, "c1", None]


@pytest.mark.parametrize(
    ("times", "mult", "count"),
    [
        (1, 1.0, 1),
        (3, 1.0, 3),
        (1, 1.1, 2),
        (2, 1.1, 3),
        (3, 1.2, 4),
        (4, 1.8, 8),
        (10, 0.1, 1),
        (3, 0.5, 2),
        (1, 0.01, 1),
    ],
)
def test_depth_mult_rounds_up(times: int, mult: float, count: int) -> None:
    done = repeat(spec({"c1": [conv(repeat=times)]}, depth_mult=mult))
    assert len(done.stages["c1"]) == count == math.ceil(times * mult)
    assert done.depth_mult == 1.0


def test_a_row_may_opt_out_of_depth_mult() -> None:
    done = repeat(spec({"c1": [conv(repeat=2, repeat_scale="fixed"), conv(repeat=2), conv()]}, depth_mult=2.0))
    assert len(done.stages["c1"]) == 2 + 4 + 1


@UNREAD
def test_references_follow_to_the_last_repeated_row() -> None:
    stages = {
        "c1": [conv(repeat=3), conv(16, repeat=2)],
        "c2": [conv(32, **{"from": "c1.0"}), {"block": "resize", "to": "c1.1"}, conv(8, **{"from": "c1.0.conv"})],
        "c3": [{"block": "add", "from": ["c1.0", "c2.2", "c1.0"]}],
    }
    source = spec(stages, outputs={"a": "c1.0", "b": "c1", "c": "c1.1", "d": "c3"}, tail=["c1.1"], reduced_tail=True)
    done = repeat(source)
    assert done.stages["c2"][0].from_ == "c1.2"
    assert done.stages["c2"][1].to == "c1.4"
    assert done.stages["c2"][2].from_ == "c1.2.conv"
    assert done.stages["c3"][0].from_ == ("c1.2", "c2.2", "c1.2")
    assert done.outputs == {"a": "c1.2", "b": "c1", "c": "c1.4", "d": "c3"}
    assert done.tail == ("c1.4",)


def test_repeat_reports_every_bad_reference() -> None:
    stages = {"c1": [conv(repeat=2)], "c2": [conv(**{"from": "c7"})], "c3": [conv(**{"from": "c8"})]}
    with pytest.raises(archc.SpecError) as caught:
        repeat(spec(stages))
    assert {problem.message for problem in caught.value.diagnostics} == {
        "there is no stage `c7`",
        "there is no stage `c8`",
    }


def test_too_many_rows() -> None:
    stages = {"c1": [conv(repeat=1000)] * 4}
    assert len(repeat(spec(stages)).stages["c1"]) == 4000
    assert only_problem(spec(stages, depth_mult=2.0), "repeat").id == "too-large"
    assert only_problem(spec({"c1": [conv(repeat=1000)] * 60}, depth_mult=100.0), "repeat").id == "too-large"


# --- reduce_tail ---


def test_the_tail_of_mobilenet_v3() -> None:
    """torchvision's `_mobilenet_v3_conf`: C5 and the head halve, but the first row of C5 keeps its expansion of 672."""
    done = reduce_tail(archc.load("mnv3_large", ["reduced_tail=true"]))
    assert [(row.expand, row.out) for row in done.stages["c5"][:3]] == [(672, 80), (480, 80), (480, 80)]
    assert done.stages["c5"][3].out == Ratio(6.0)
    assert [done.stages["head"][1].out, done.stages["head"][3].out] == [640, 1000]
    assert column(done, "out")[:13] == column(archc.load("mnv3_large"), "out")[:13]
    assert not done.reduced_tail


def test_a_tail_of_rows() -> None:
    stages = {"c1": [conv(16), mbconv(64, 32), mbconv(96, 32)], "c2": [conv(64, scale="fixed"), conv(7), conv(1)]}
    done = reduce_tail(spec(stages, reduced_tail=True, tail=["c1.2", "c2"]))
    assert column(done, "out") == [16, 32, 16, 64, 3, 1]
    assert column(done, "expand")[1:3] == [64, 96]  # its input is outside of the tail


def test_a_bottlenecks_inner_width_is_its_own() -> None:
    row = {"block": "bottleneck", "expand": 64, "out": 256}
    done = reduce_tail(spec({"c1": [row], "c2": [row]}, reduced_tail=True, tail=["c2"]))
    assert [(r.expand, r.out) for _, _, r in done.rows()] == [(64, 256), (32, 128)]


def test_the_inner_width_of_mobilevit_halves_too() -> None:
    row = {"block": "mobilevit", "dim": 96, "depth": 2, "ffn": "2x"}
    done = reduce_tail(spec({"c1": [conv(16)], "c2": [row]}, reduced_tail=True, tail=["c2"]))
    assert (done.stages["c2"][0].dim, done.stages["c2"][0].ffn) == (48, Ratio(2.0))


def test_reduced_tail_needs_a_tail() -> None:
    assert only_problem(spec({"c1": [conv()]}, reduced_tail=True), "reduce_tail").id == "no-tail"
    problem = only_problem(spec({"c1": [conv()]}, reduced_tail=True, tail=["c2"]), "reduce_tail")
    assert (problem.id, problem.message) == ("unknown-reference", "there is no stage `c2`")


def test_a_tail_that_is_not_used_need_not_exist() -> None:
    """A child may take the head off and leave `tail` as it is."""
    loaded = archc.load("mnv3_small", ["~stages.head", "~dropout"])
    assert archc.report(loaded).params > 0
    repeated = spec({"c1": [conv(repeat=2)]}, tail=["c9"])
    assert len(passes.run(repeated).stages["c1"]) == 2


# --- atrous ---


POLICIES: dict[str, dict[str, list[Any]]] = {
    # strides 2 2 2 2 at rows 0, 1, 3, 5 and an output stride of 4: rows 3 and 5 lose theirs
    "include_strided": {"stride": [2, 2, 1, 1, 1, 1, 1], "dilation": [1, 1, 1, 2, 2, 4, 4]},
    "after_strided": {"stride": [2, 2, 1, 1, 1, 1, 1], "dilation": [1, 1, 1, 1, 2, 2, 4]},
    "none_in_vit": {"stride": [2, 2, 1, 1, 1, 1, 1], "dilation": [1, 1, 1, 1, 2, 2, 4]},
}


@pytest.mark.parametrize("policy", POLICIES)
def test_strides_become_dilation(policy: str) -> None:
    strides = [2, 2, 1, 2, 1, 2, 1]
    source = spec({"c1": [conv(stride=s) for s in strides]}, output_stride=4, dilation_policy=policy)
    done = atrous(source)
    assert column(done, "stride") == POLICIES[policy]["stride"]
    assert column(done, "dilation") == POLICIES[policy]["dilation"]
    assert done.output_stride is None


def test_dilated_is_output_stride_16() -> None:
    one = atrous(archc.load("mnv3_large", ["dilated=true"]))
    assert one == atrous(archc.load("mnv3_large", ["output_stride=16"]))
    assert [row.dilation for row in one.stages["c5"][:3]] == [2, 2, 2]
    assert [row.residual for row in one.stages["c5"][:3]] == [False, None, None]  # torchvision's cnf.stride stays 2


def test_attention_stays_undilated_only_under_its_policy() -> None:
    vit = {"block": "mobilevit", "dim": 16, "depth": 1, "heads": 4, "ffn": "2x"}
    stages = {"c1": [conv(stride=2), conv(stride=2), vit, conv()]}
    found = {
        policy: column(atrous(spec(stages, output_stride=2, dilation_policy=policy)), "dilation") for policy in POLICIES
    }
    assert found == {"include_strided": [1, 2, 2, 2], "after_strided": [1, 1, 2, 2], "none_in_vit": [1, 1, 1, 2]}


def test_pointwise_rows_do_not_dilate() -> None:
    source = spec({"c1": [conv(stride=2), conv(kernel=1, stride=2), conv(kernel=1), conv()]}, output_stride=2)
    assert column(atrous(source), "dilation") == [1, 1, 1, 2]


def test_own_dilation_multiplies() -> None:
    source = spec({"c1": [conv(stride=2), conv(stride=2, dilation=3), conv(dilation=2)]}, output_stride=2)
    assert column(atrous(source), "dilation") == [1, 6, 4]


@UNREAD
def test_every_branch_has_its_own_stride() -> None:
    stages = {
        "c1": [conv(stride=2)],
        "c2": [conv(stride=2)],
        "side": [conv(stride=2, **{"from": "c1"})],
        "c3": [conv(stride=2, **{"from": "c2"})],
        "sum": [{"block": "add", "from": ["side", "c2"]}, conv(stride=2)],
    }
    done = atrous(spec(stages, output_stride=4, dilation_policy="after_strided"))
    assert column(done, "stride") == [2, 2, 2, 1, None, 1]


def test_strides_within_the_limit_stay() -> None:
    source = spec({"c1": [conv(stride=2), conv(stride=4), conv(stride=2), conv(stride=4)]}, output_stride=16)
    assert column(atrous(source), "stride") == [2, 4, 2, 1]


def test_a_row_that_cannot_dilate() -> None:
    source = spec({"c1": [conv(stride=2), {"block": "pool", "kind": "max", "kernel": 3, "stride": 2}]}, output_stride=2)
    problem = only_problem(source, "atrous")
    assert problem.id == "cannot-dilate"
    assert "`pool`" in problem.message


# --- scale_width ---


def test_counts_scale_and_ratios_do_not() -> None:
    source = spec({"c1": [conv(16), mbconv(72, 24), mbconv("4x", 40), conv("6x")]}, width_mult=0.75)
    done = scale_width(source)
    assert column(done, "out") == [16, 24, 32, Ratio(6.0)]  # 12 -> 16 (0.9 rule), 18 -> 24 (0.9 rule), 30 -> 32
    assert column(done, "expand")[1:3] == [56, Ratio(4.0)]
    assert done.width_mult == 1.0


def test_rows_that_scale_otherwise() -> None:
    rows = [conv(64), conv(64, scale="fixed"), conv(64, scale="grow")]
    assert column(scale_width(spec({"c1": rows}, width_mult=0.5)), "out") == [32, 64, 64]
    assert column(scale_width(spec({"c1": rows}, width_mult=2.0)), "out") == [128, 64, 128]


def test_width_1_leaves_odd_counts_alone() -> None:
    source = spec({"c1": [conv(13), mbconv(17, 11)]})
    assert scale_width(source) is source


def test_rounding_is_the_specs() -> None:
    rows = {"c1": [conv(50), conv(3)]}
    assert column(scale_width(spec(rows, width_mult=0.5)), "out") == [24, 8]
    fine = spec(rows, width_mult=0.5, rounding={"divisor": 1})
    assert column(scale_width(fine), "out") == [25, 2]
    least = spec(rows, width_mult=0.5, rounding={"divisor": 4, "min": 16})
    assert column(scale_width(least), "out") == [24, 16]


def test_widths_have_a_limit() -> None:
    problem = only_problem(spec({"c1": [conv(1_000_000)]}, width_mult=100.0), "scale_width")
    assert problem.id == "too-large"
    assert "100,000,000" in problem.message


# --- drop_path ---


def test_linear_drop_path() -> None:
    """torchvision's EfficientNet: rate · i / n, counting every row that can have a residual."""
    rows = {"c0": [conv()], "c1": [mbconv("1x", 8), mbconv("4x", 16, stride=2), mbconv("4x", 16), mbconv("4x", 16)]}
    done = drop_path(spec(rows, drop_path=0.2))
    assert column(done, "drop_path") == [None, 0.0, 0.05, 0.1, pytest.approx(0.15)]
    assert done.drop_path.rate == 0.0


def test_constant_drop_path() -> None:
    rows = {"c1": [mbconv("4x", 8), mbconv("4x", 8, drop_path=0.5), conv()]}
    done = drop_path(spec(rows, drop_path={"rate": 0.2, "schedule": "constant"}))
    assert column(done, "drop_path") == [0.2, 0.5, None]


def test_repeated_rows_count_one_by_one() -> None:
    done = passes.run(spec({"c1": [mbconv("4x", 8, repeat=4)]}, drop_path=0.4))
    assert column(done, "drop_path") == [0.0, 0.1, 0.2, pytest.approx(0.3)]


def test_no_drop_path_is_no_change() -> None:
    source = spec({"c1": [mbconv("4x", 8)]})
    assert drop_path(source) is source
