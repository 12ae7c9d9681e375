"""Values: what is refused, in which words, with the caret under which characters."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

import archc
from archc.blocks import BUILTIN
from archc.document.model import Settings
from archc.document.values import FrozenDict
from archc.ir import ops
from archc.language.schema import Spec
from archc.language.settings import Rounding, count_of
from archc.language.values import Ratio
from tests.language.helpers import SMALL, Folder, only, pointed, problems, row

CONV = "{block: conv, out: 8}"
IR = "{block: inverted_residual, expand: 4x, out: 8, %s}"


def at_top(text: str) -> str:
    return row(CONV, text)


def in_conv(text: str) -> str:
    return row("{block: conv, %s}" % (text if "out:" in text else f"out: 8, {text}"))


CASES: list[tuple[str, str, str, str]] = [
    # (the file, what the caret stands under, the message, the suggestion or advice)
    (in_conv("kernel: [3]"), "[3]", "`kernel` must be one whole number or `[height, width]`, not a list of 1", ""),
    (in_conv("kernel: [3, 3, 3]"), "[3, 3, 3]",
    "`kernel` must be one whole number or `[height, width]`, not a list of 3", ""),
    (in_conv("kernel: x"), "x", "`kernel` must be one whole number or `[height, width]`, not `x`", ""),
    (in_conv("kernel: 3.0"), "3.0", "`kernel` must be one whole number or `[height, width]`, not `3.0`", ""),
    (in_conv("kernel: true"), "true", "`kernel` must be one whole number or `[height, width]`, not true", ""),
    (in_conv("kernel: null"), "null", "`kernel` must be one whole number or `[height, width]`, not null", ""),
    (in_conv("kernel: {h: 3}"), "{h: 3}", "`kernel` must be one whole number or `[height, width]`, not a mapping", ""),
    (in_conv("kernel: [3, x]"), "x", "an item of `kernel` must be a whole number, not `x`", ""),
    (in_conv("kernel: [3, true]"), "true", "an item of `kernel` must be a whole number, not true", ""),
    (in_conv("kernel: 0"), "0", "`kernel` must be at least 1, not `0`", ""),
    (in_conv("kernel: [3, 999]"), "999", "an item of `kernel` must be at most 255, not `999`", ""),
    (in_conv("kernel: 3x3"), "3x3", "`kernel` must be one whole number or `[height, width]`, not `3x3`", ""),
    (in_conv("stride: 2.0"), "2.0", "`stride` must be a whole number, not `2.0`", ""),
    (in_conv("stride: [2, 2]"), "[2, 2]", "`stride` must be a whole number, not a list of 2", ""),
    (in_conv("stride: '2'"), "'2'", '`stride` must be a whole number, not `"2"`', "without quotes, `2` is not text"),
    (in_conv("stride: 1000"), "1000", "`stride` must be at most 64, not `1000`", ""),
    (in_conv("groups: depthwice"), "depthwice", "`groups` must be a whole number or `depthwise`, not `depthwice`",
    "did you mean `depthwise`?"),
    (in_conv("groups: 0"), "0", "`groups` must be at least 1, not `0`", ""),
    (in_conv("bias: yes"), "yes", "`bias` must be true or false, not `yes`", "write `true`"),
    (in_conv("bias: off"), "off", "`bias` must be true or false, not `off`", "write `false`"),
    (in_conv("bias: 1"), "1", "`bias` must be true or false, not `1`", ""),
    (in_conv("act: hswish"), "hswish", "`act` cannot be `hswish`", "did you mean `hardswish`?"),
    (in_conv("act: swish"), "swish", "`act` cannot be `swish`", "did you mean `silu`?"),
    (in_conv("act: rleu"), "rleu", "`act` cannot be `rleu`", "did you mean `relu`?"),
    (in_conv("act: linear"), "linear", "`act` cannot be `linear`", "did you mean `none`?"),
    (in_conv("act: [relu]"), "[relu]", "`act` cannot be a list of 1", "did you mean `relu`?"),
    (in_conv("norm: batchnorm"), "batchnorm", "`norm` cannot be `batchnorm`", "did you mean `batch`?"),
    (in_conv("norm: {epsilon: 1}"), "epsilon", "`epsilon` is not a key of `norm`", "did you mean `eps`?"),
    (in_conv("norm: [batch]"), "[batch]", "`norm` must be a mapping, not a list of 1", "its keys are `kind`"),
    (in_conv("padding: 1"), "1", "`padding` cannot be `1`", "one of: `symmetric`, `same`, `valid`"),
    (in_conv("scale: fix"), "fix", "`scale` cannot be `fix`", "did you mean `fixed`?"),
    (in_conv("repeat: 0"), "0", "`repeat` must be at least 1, not `0`", ""),
    (in_conv("repeat: 5000"), "5000", "`repeat` must be at most 1,000, not `5000`", ""),
    (in_conv("repeat_scale: none"), "none", "`repeat_scale` cannot be `none`", "one of: `scaled`, `fixed`"),
    (in_conv("out: 0"), "0", "`out` must be between 1 and 1,000,000 channels, not `0`", ""),
    (in_conv("out: -8"), "-8", "`out` must be between 1 and 1,000,000 channels, not `-8`", ""),
    (in_conv("out: 9999999"), "9999999", "`out` must be between 1 and 1,000,000 channels", ""),
    (in_conv("out: 4.0"), "4.0", "`out` must be a channel count such as `64` or a ratio such as `4x`, not `4.0`",
    "write `4` for that many channels, `4x` for a ratio of the input"),
    (in_conv("out: 2.5"), "2.5", "`out` must be a channel count such as `64` or a ratio such as `4x`, not `2.5`",
    "write `2.5x` for a ratio of the input"),
    (in_conv("out: x4"), "x4", "`out` must be a channel count such as `64` or a ratio such as `4x`, not `x4`",
    "did you mean `4x`?"),
    (in_conv("out: 4X"), "4X", "`out` must be a channel count such as `64` or a ratio such as `4x`, not `4X`",
    "did you mean `4x`?"),
    (in_conv("out: '64'"), "'64'", '`out` must be a channel count such as `64` or a ratio such as `4x`, not `"64"`',
    "without quotes, `64` is not text"),
    (in_conv("out: 0x"), "0x", "`out` must be more than 0x and at most 1000x, not `0x`", ""),
    (in_conv("out: 2000x"), "2000x", "`out` must be more than 0x and at most 1000x, not `2000x`", ""),
    (in_conv("out: true"), "true", "`out` must be a channel count such as `64` or a ratio such as `4x`, not true", ""),
    (in_conv("kernal: 3"), "kernal", "`kernal` is not a key of `conv`", "did you mean `kernel`?"),
    (in_conv("colour: 3"), "colour", "`colour` is not a key of `conv`", "one of: `block`"),
    (row("{block: conv, kernel: 3}"), "{block: conv, kernel: 3}", "`conv` needs `out`", ""),
    (row("{out: 3}"), "{out: 3}", "this row names no `block`", "or name one in `table.block`"),
    (row("{block: cnov, out: 3}"), "cnov", "there is no block `cnov`", "did you mean `conv`?"),
    (row("{block: se}"), "se", "there is no block `se`", "squeeze-and-excitation is a column of"),
    (row("{block: attention}"), "attention", "there is no block `attention`", "self-attention is part of `mobilevit`"),
    (row("{block: layer_norm}"), "layer_norm", "there is no block `layer_norm`", "layer normalisation is part of"),
    (row("{block: MaxPool}"), "MaxPool", "there is no block `MaxPool`", "windows are pooled by"),
    (at_top("act: gelu_tanh"), "gelu_tanh", "`act` must be an activation that archc has, not `gelu_tanh`",
    "archc's `gelu` is the exact function"),
    (row(IR % "out_act: gelu_tanh"), "gelu_tanh", "`out_act` must be an activation that archc has or `spec`",
    "archc's `gelu` is the exact function"),
    (row(IR % "out_act: spce"), "spce", "`out_act` cannot be `spce`", "did you mean `spec`?"),
    (row("{block: 3}"), "3", "a row's `block` is a name", "one of: `add`"),
    (row("{block: [conv]}"), "[conv]", "a row's `block` is a name", "one of: `add`"),
    (row("{block: 'no.such.module:Block'}"), "'no.such.module:Block'", "cannot import block `no.such.module:Block`",
    ""),
    (row("{block: 'os:path'}"), "'os:path'", "`os:path` is not a block", "a block is a subclass of `archc.Block`"),
    (row("{block: ':'}"), "':'", "cannot import block `:`", ""),
    ("stages: {c1: [conv]}\n", "[conv]", "stage `c1` must be a list of rows", "one row is a list itself"),
    (row(IR % "se: maybe"), "maybe",
    "`se` must be true, false, a ratio such as 0.25, or a mapping of differences, not `maybe`", ""),
    (row(IR % "se: null"), "null",
    "`se` must be true, false, a ratio such as 0.25, or a mapping of differences, not null", ""),
    (row(IR % "se: 17"), "17", "`se` must be at most 16, not `17`", ""),
    (row(IR % "se: {ratios: 1}"), "ratios", "`ratios` is not a key of `se`", "did you mean `ratio`?"),
    (row(IR % "se: {act: reluu}"), "reluu", "`act` cannot be `reluu`", "did you mean `relu`?"),
    (row(IR % "se: {rounding: {divisor: 0}}"), "0", "`divisor` must be at least 1, not `0`", ""),
    (row(IR % "drop_path: 1.0"), "1.0", "`drop_path` must be less than 1, not `1.0`", ""),
    (at_top("input: {size: 0}"), "0", "`size` must be at least 1, not `0`", ""),
    (at_top("input: {size: 224x224}"), "224x224",
    "`size` must be one whole number or `[height, width]`, not `224x224`", ""),
    (at_top("input: {size: [224, 0]}"), "0", "an item of `size` must be at least 1, not `0`", ""),
    (at_top("input: {size: 99999}"), "99999", "`size` must be at most 65,536, not `99999`", ""),
    (at_top("input: {mean: [0.5]}"), "[0.5]", "`input.mean` has 1 value for 3 channels",
    "give one number for all, or 3 of them"),
    (at_top("input: {mean: 0, std: [1, 1], channels: 1}"), "[1, 1]", "`input.std` has 2 values for 1 channel",
    "give one number"),
    (at_top("input: {channels: 1}"), "{channels: 1}",
    "`input.mean` is needed for 1 channel: its default, ImageNet's, has 3 values", "give one number"),
    (at_top("input: {mean: half}"), "half", "`mean` must be a number, or a list of one per channel, not `half`", ""),
    (at_top("input: {mean: [0.5, 0.5, x]}"), "x", "an item of `mean` must be a number, not `x`", ""),
    (at_top("input: {std: 0}"), "0", "`input.std` must be positive", ""),
    (at_top("input: {std: [1, -1, 1]}"), "[1, -1, 1]", "`input.std` must be positive", ""),
    (at_top("input: {mean: .nan}"), ".nan", "`mean` must be a finite number, not `nan`", ""),
    (at_top("input: {std: [.inf, 1, 1]}"), ".inf", "an item of `std` must be a finite number, not `inf`", ""),
    (at_top("input: 224"), "224", "`input` must be a mapping, not `224`", "its keys are `channels`, `size`"),
    (at_top("input: [3, 224, 224]"), "[3, 224, 224]", "`input` must be a mapping, not a list of 3", ""),
    (at_top("input: {sise: 224}"), "sise", "`sise` is not a key of `input`", "did you mean `size`?"),
    (at_top("input: {interpolation: cubic}"), "cubic", "`interpolation` cannot be `cubic`", "did you mean `bicubic`?"),
    (at_top("norm: {kind: layer}"), "layer", "`kind` cannot be `layer`", "one of: `batch`, `frozen_batch`, `none`"),
    (at_top("norm: {eps: 0}"), "0", "`eps` must be greater than 0, not `0`", ""),
    (at_top("norm: {eps: 1e-3x}"), "1e-3x", "`eps` must be a number, not `1e-3x`", ""),
    (at_top("norm: 3"), "3", "`norm` must be a mapping, not `3`", "its keys are `kind`"),
    (at_top("squeeze: {of: expansion}"), "expansion", "`of` cannot be `expansion`", "one of: `expanded`, `input`"),
    (at_top("squeeze: 0.25"), "0.25", "`squeeze` must be a mapping, not `0.25`", ""),
    (at_top("init: {conv: kaiming}"), "kaiming",
    "`conv` must be an initialiser's name, `{normal: STD}` or `{trunc_normal: STD}`, not `kaiming`",
    "one of: `kaiming_normal_fan_out`"),
    (at_top("init: {conv: kaiming_normal_fanout}"), "kaiming_normal_fanout", "`conv` must be an initialiser's name",
    "did you mean `kaiming_normal_fan_out`?"),
    (at_top("init: {linear: normal}"), "normal", "`linear` must be an initialiser's name",
    "write `{normal: 0.01}`, with its standard deviation"),
    (at_top("init: {linear: {normal: wide}}"), "wide",
    "`normal` must be a standard deviation such as 0.01, not `wide`", ""),
    (at_top("init: {linear: {normal: true}}"), "true", "`normal` must be a standard deviation such as 0.01, not true",
    ""),
    (at_top("init: {linear: {normal: -1}}"), "-1", "`normal` must be between 0 and 100, not `-1`", ""),
    (at_top("init: {linear: {normal: .nan}}"), ".nan", "`normal` must be between 0 and 100, not `nan`", ""),
    (at_top("init: {linear: {norml: 1}}"), "{norml: 1}", "`linear` must be an initialiser's name",
    "did you mean `normal`?"),
    (at_top("rounding: {divisor: 8.0}"), "8.0", "`divisor` must be a whole number, not `8.0`", ""),
    (at_top("rounding: {limit: 2}"), "2", "`limit` must be at most 1, not `2`", ""),
    (at_top("drop_path: lots"), "lots",
    "`drop_path` must be a rate such as 0.2, or `{rate: 0.2, schedule: linear}`, not `lots`", ""),
    (at_top("drop_path: 2"), "2", "`drop_path` must be less than 1, not `2`", ""),
    (at_top("drop_path: {schedule: cosine}"), "cosine", "`schedule` cannot be `cosine`",
    "one of: `linear`, `constant`"),
    (at_top("tail: c1"), "c1", "`tail` must be a list, not `c1`", "write `[c1]`"),
    (at_top("tail: [1]"), "1", "an item of `tail` must be a reference such as `c3` or `c5.0`, not `1`", ""),
    (at_top("vars: [1]"), "[1]", "`vars` must be a mapping, not a list of 1", ""),
    (at_top("name: my net"), "my net",
    "`name` must be letters, digits, `_`, `.`, `+` and `-`, the first a letter or a digit, not `my net`", ""),
    (at_top("name: 3"), "3", "`name` must be letters, digits", ""),
    (at_top("name: ''"), "''", '`name` must be text, and not empty, not `""`', ""),
    (at_top("name: ../../etc"), "../../etc", "`name` must be letters, digits", ""),
    (at_top("num_classes: 0"), "0", "`num_classes` must be at least 1, not `0`", ""),
    (at_top("num_classes: 1e3"), "1e3", "`num_classes` must be a whole number, not `1000.0`", ""),
    (at_top("width_mult: .nan"), ".nan", "`width_mult` must be a finite number, not `nan`", ""),
    (at_top("width_mult: -.inf"), "-.inf", "`width_mult` must be a finite number, not `-inf`", ""),
    (at_top("width_mult: 1e999"), "1e999", "`width_mult` must be a finite number, not `inf`", ""),
    (at_top("width_mult: 0"), "0", "`width_mult` must be greater than 0, not `0`", ""),
    (at_top("width_mult: 1000"), "1000", "`width_mult` must be at most 100, not `1000`", ""),
    (at_top("width_mult: true"), "true", "`width_mult` must be a number, not true", ""),
    (at_top("width_mult: 75%"), "75%", "`width_mult` must be a number, not `75%`", ""),
    (at_top("width_mult: '0.75'"), "'0.75'", '`width_mult` must be a number, not `"0.75"`',
    "without quotes, `0.75` is not text"),
    (at_top("width_mult: [0.5, 1.0]"), "[0.5, 1.0]", "`width_mult` must be a number, not a list of 2", ""),
    (at_top("reduced_tail: yes"), "yes", "`reduced_tail` must be true or false, not `yes`", "write `true`"),
    (at_top("dilated: 1"), "1", "`dilated` must be true or false, not `1`", ""),
    (at_top("output_stride: 16.0"), "16.0", "`output_stride` must be a whole number, not `16.0`", ""),
    (at_top("dilated: true\noutput_stride: 8"), "8",
    "`dilated: true` means output stride 16, but `output_stride` is 8", "state only `output_stride`"),
    (at_top("dilation_policy: torchvision"), "torchvision", "`dilation_policy` cannot be `torchvision`",
    "one of: `include_strided`"),
    (at_top("drop_out: 0.1"), "drop_out", "`drop_out` is not a key of a spec", "did you mean `dropout`?"),
    (at_top("colour: 3"), "colour", "`colour` is not a key of a spec", "one of: `name`"),
    (at_top("'': 3"), "''", "`` is not a key of a spec", ""),
    ("name: x\n", "n", "a spec needs `stages`", ""),
    ("stages: {}\n", "{}", "`stages` holds no stage", ""),
    ("stages: [{block: pool}]\n", "[{block: pool}]",
    "`stages` must be a mapping of stage names to lists of rows, not a list of 1", ""),
    ("stages: 3\n", "3", "`stages` must be a mapping of stage names to lists of rows, not `3`", ""),
    ("stages: {c-1: [{block: pool}]}\n", "c-1", "`c-1` cannot name a stage", "use letters, digits and `_`"),
    ("stages: {1: [{block: pool}]}\n", "1", "`1` cannot name a stage", ""),
    ("stages: {input: [{block: pool}]}\n", "input", "`input` cannot name a stage", "`input` is the network's own"),
    ("stages: {a.b: [{block: pool}]}\n", "a.b", "`a.b` cannot name a stage", ""),
    ("stages: {a: []}\n", "[]", "stage `a` must be a list of rows", "remove it"),
    ("stages: {a: conv}\n", "conv", "stage `a` must be a list of rows", "write `a:` and below it"),
    ("stages: {a: {block: conv, out: 8}}\n", "a", "stage `a` must be a list of rows", "write `- ` before each row"),
    ("stages: {a: [conv, 3, 16]}\n", "[conv, 3, 16]", "stage `a` must be a list of rows", "one row is a list itself"),
    ("stages: {a: [{block: pool}, pool]}\n", "pool", "a row is a list or a mapping, not `pool`",
    "write `{block: pool}`"),
    ("stages: {a: [{block: pool}, null]}\n", "null", "a row is a list or a mapping, not null", ""),
    (row("{block: pool, kernel: 3}"), "{block: pool, kernel: 3}", "a global pool has no window", "say `kind: avg`"),
    (row("{block: pool, kind: max}"), "{block: pool, kind: max}", "a pool of kind `max` needs a `kernel`", "kernel: 3"),
    (row("{block: resize, to: [input]}"), "[input]",
    "`to` must be a reference such as `c3` or `c5.0`, not a list of 1", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "at", "message", "advice"), CASES, ids=[case[2][:60] for case in CASES])
def test_one_mistake_is_one_message(
    folder: Folder, text: str, at: str, message: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHC_ALLOW_BLOCKS", "os,no.such")
    problem = only(folder.write("my.yaml", text))
    assert problem.message.startswith(message)
    assert pointed(problem.span) == at
    said = problem.label + problem.help
    assert said.startswith(advice) if advice else not problem.label
    assert not re.search(
        r"\b(pydantic|Input should|validation|tuple|dict|Mapping|literal|float|str|int|bool)\b", problem.message
    )


def test_every_mistake_is_listed_in_the_order_of_the_file(folder: Folder) -> None:
    text = SMALL.replace("size: 224", "size: big").replace("eps: 1.0e-3", "epsilon: 1").replace("\ntail:", "\ntial:")
    text = text.replace("[3,  72, 24, false, relu,      2]", "[3,  72, 24, flase, rleu,      2]")
    text = text.replace("{block: pool}", "{block: pol}").replace('"${dropout}"', "3")
    found = problems(folder.write("my.yaml", text))
    assert [pointed(problem.span) for problem in found] == ["big", "epsilon", "tial", "flase", "rleu", "pol", "3"]
    lines = [problem.span.line for problem in found if problem.span]
    assert lines == sorted(lines)


def test_problems_of_files_come_before_those_of_overrides(folder: Folder) -> None:
    path = folder.write("my.yaml", in_conv("kernel: x"))
    found = problems(path, ["width_mult=abc", "act=swish"])
    assert [pointed(problem.span) for problem in found] == ["x", "abc", "swish"]


def test_messages_are_one_printable_line(folder: Folder) -> None:
    path = folder.write("my.yaml", 'name: "a\\x1b[31m\\nb"\n"k\\u202ey": 1\nstages: {c1: [{block: pool}]}\n')
    for problem in problems(path):
        assert str(problem).isprintable()


def test_mappings_from_python_say_where(folder: Folder) -> None:
    problem = only({"stages": {"c1": [{"block": "conv", "out": 0}]}})
    assert str(problem).startswith("the mapping's `stages.c1.0.out`: error[invalid-value]: `out` must be between")


# --- What a spec is, once it is loaded ---


def test_the_name_defaults_to_the_files(folder: Folder) -> None:
    assert archc.load(folder.write("my-net.yaml", at_top(""))).name == "my-net"
    assert archc.load({"stages": {"c1": [{"block": "pool"}]}}).name == "spec"


def test_specs_are_frozen() -> None:
    spec = archc.load("mnv3_small")
    with pytest.raises(Exception, match="frozen"):
        spec.width_mult = 2.0  # type: ignore[misc]
    with pytest.raises(TypeError, match="frozen"):
        spec.stages["c9"] = ()
    with pytest.raises(TypeError, match="frozen"):
        spec.stages.update({})
    with pytest.raises(Exception, match="frozen"):
        spec.stages["c2"][0].block = "conv"


def test_equality_and_hashing_see_values_only(folder: Folder) -> None:
    one = archc.load(folder.write("a.yaml", "# moved\n" + SMALL))
    two = archc.load("mnv3_small")
    assert one == two
    assert hash(one) == hash(two)
    assert one != two.override(width_mult=0.5)
    assert archc.load({"vars": {"a": {"b": [1, {"c": 2}]}}, "stages": {"c1": [{"block": "pool"}]}}) is not None
    assert len({one, two, two.override(width_mult=0.5)}) == 2


def test_specs_pickle() -> None:
    import pickle

    spec = archc.load("mnv3_small", ["width_mult=0.5"])
    copy = pickle.loads(pickle.dumps(spec))
    assert copy == spec
    assert copy.override(dropout=0.5) == spec.override(dropout=0.5)


def test_nested_vars_do_not_hinder_lowering() -> None:
    spec = archc.load({"vars": {"a": {"b": [1, {"c": 2}]}}, "stages": {"c1": [{"block": "conv", "out": 8}]}})
    assert archc.report(spec).params == 8 * 27 + 16


def test_unused_settings_warn() -> None:
    source: dict[str, Any] = {"stages": {"c1": [{"block": "conv", "out": 8}]}}
    for key, value in (
        ("depth_mult", 2.0),
        ("dropout", 0.5),
        ("drop_path", 0.1),
        ("output_stride", 8),
        ("dilated", True),
    ):
        with pytest.warns(archc.SpecWarning, match=f"`{key}` has no effect"):
            (warning,) = archc.load({**source, key: value}).warnings
        assert (warning.id, warning.severity) == ("unused-setting", "warning")


@pytest.mark.filterwarnings("error")
def test_inherited_settings_do_not_warn(folder: Folder) -> None:
    path = folder.write("my.yaml", "defaults: [mnv3_small, _self_]\nstages: {head: null}\n")
    assert archc.load(path).warnings == ()


def test_a_spec_made_in_python_is_checked() -> None:
    """What `Spec(…)` is given is checked like a file, mappings and blocks alike."""
    rows = [{"block": "conv", "out": 8}, BUILTIN["conv"].model_validate({"block": "conv", "out": 4})]
    spec = archc.Spec(name="x", stages={"a": rows})  # type: ignore[arg-type]
    assert archc.report(spec).params == 27 * 8 + 16 + 72 * 4 + 8
    assert archc.Spec.model_validate({"name": "x", "stages": {"a": rows}}) == spec
    assert spec == archc.load(
        {"name": "x", "stages": {"a": [{"block": "conv", "out": 8}, {"block": "conv", "out": 4}]}}
    )
    wrong = {
        "a": [{"block": "conv", "outt": 8}, {"block": "cnov"}, {"out": 3}, 4, {"block": "conv", "out": "3y"}],
        "b": [],
        "input": [{"block": "pool"}],
        "c d": [{"block": "pool"}],
        "e": {"block": "pool"},
        "f": "pool",
        3: [{"block": "os:path"}],
    }
    by_name: dict[str, Any] = {"name": "x", "stages": wrong}
    for make in (lambda: archc.Spec(**by_name), lambda: archc.Spec.model_validate(by_name)):
        with pytest.raises(ValidationError) as caught:
            make()
        places = {".".join(map(str, error["loc"][1:])) for error in caught.value.errors()}
        in_rows = {"a.0.out", "a.0.outt", "a.1.block", "a.2", "a.3", "a.4.out", "3.0.block"}
        assert places == in_rows | {"b", "input", "c d", "e", "f", "3"}
    for stages in (None, {}, [], 3):
        with pytest.raises(ValidationError):
            archc.Spec(name="x", stages=stages)  # type: ignore[arg-type]


def test_spec_knows_the_blocks_wherever_it_is_first_used() -> None:
    program = (
        "import archc; print(archc.Spec(name='x', stages={'a': [{'block': 'conv', 'out': 8}]}).stages['a'][0].out)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "8\n"


@pytest.mark.parametrize("block", ["inverted_residual", "bottleneck"])
def test_out_act_can_be_a_column(block: str) -> None:
    """`spec` is the word for the spec's `act`; null is `left out` in a cell."""
    source = {
        "act": "silu",
        "table": {"block": block, "columns": ["expand", "out", "out_act"]},
        "stages": {"a": [[8, 8, "spec"], [8, 8, "none"], [8, 8, "relu"], [8, 8, None]]},
    }
    ends = [
        region.subgraph.result.op.function if isinstance(region.subgraph.result.op, ops.Activation) else "none"
        for region in archc.lower(archc.load(source)).regions
    ]
    assert ends == ["silu", "none", "relu", "none" if block == "inverted_residual" else "silu"]
    null = {"act": "silu", "stages": {"a": [{"block": block, "expand": 8, "out": 8, "out_act": None}]}}
    last = archc.lower(archc.load(null)).regions[0].subgraph.result.op
    assert last == ops.Activation("silu")


def make_divisible(v: float, divisor: int, min_value: int | None = None) -> int:
    """As torchvision's ops/misc.py has it."""
    new_v = max(min_value or divisor, int(v + divisor / 2) // divisor * divisor)
    return new_v + divisor if new_v < 0.9 * v else new_v


@pytest.mark.parametrize("divisor", [1, 4, 8, 16])
def test_rounding_is_torchvisions(divisor: int) -> None:
    rounding = Rounding(divisor=divisor)
    for count in range(1, 700, 3):
        for mult in (0.1, 0.35, 0.5, 0.75, 1.0, 1.25, 1.4):
            assert rounding.round(count * mult) == make_divisible(count * mult, divisor)


def test_rounding_policies() -> None:
    assert [Rounding(divisor=8, min=16).round(v) for v in (1, 15.9, 17, 20)] == [16, 16, 16, 24]
    assert Rounding(divisor=8, limit=0).round(11.9) == 8
    assert Rounding(divisor=8).round(11.9) == 16
    assert Rounding(divisor=1).round(2.5) == 3


@pytest.mark.parametrize(
    ("text", "value"), [("4x", 4.0), ("0.5x", 0.5), (".5x", 0.5), ("2.30x", 2.3), ("0.00001x", 1e-5), ("1000x", 1000.0)]
)
def test_ratios_read_and_print(text: str, value: float) -> None:
    assert archc.load({"stages": {"c1": [{"block": "conv", "out": text}]}}).stages["c1"][0].out == Ratio(value)
    again = archc.load({"stages": {"c1": [{"block": "conv", "out": str(Ratio(value))}]}})
    assert again.stages["c1"][0].out == Ratio(value)


def test_ratios_of_an_input() -> None:
    rounding = Rounding()
    assert count_of(Ratio(1.0), 17, rounding) == 17
    assert count_of(Ratio(4.0), 16, rounding) == 64
    assert count_of(Ratio(2.3), 80, rounding) == 184
    assert count_of(20, 16, rounding) == 20


def all_settings(model: type[Settings]) -> set[type[Settings]]:
    found = {model}
    for child in model.__subclasses__():
        found |= all_settings(child)
    return found


def test_every_model_is_frozen_closed_and_strict() -> None:
    models = all_settings(Settings)
    assert Spec in models
    assert len(models) > 15
    for model in models:
        config = model.model_config
        assert (config["frozen"], config["extra"], config["strict"], config["allow_inf_nan"]) == (
            True,
            "forbid",
            True,
            False,
        )


def test_frozen_dicts() -> None:
    frozen = FrozenDict({"a": 1})
    assert frozen == {"a": 1}
    assert hash(frozen) == hash(FrozenDict({"a": 1}))
    for change in (
        lambda: frozen.pop("a"),
        lambda: frozen.setdefault("b", 2),
        frozen.clear,
        lambda: frozen.__ior__({}),
    ):
        with pytest.raises(TypeError, match="frozen"):
            change()
    assert math.isclose(sum(frozen.values()), 1)
