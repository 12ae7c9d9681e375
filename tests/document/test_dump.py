"""Printed specs load again, as the same network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import archc
from archc import passes
from tests.language.helpers import BUNDLED

OVERRIDES: dict[str, list[list[str]]] = {
    "": [["width_mult=0.35", "input.size=[96,160]", "num_classes=10"]],
    "mnv3_large": [["reduced_tail=true", "dilated=true"], ["outputs={low: c3.0, mid: c4.1.expand, out: c5}",
    "padding=same"]],
    "mnv3_small": [["stages.c2.0.norm={eps: 0.5}", "stages.c2.0.se={ratio: 0.5, gate: sigmoid}", "reduced_tail=true",
    "width_mult=1.25"]],
    "mobilenet_v2": [["width_mult=1.4", "output_stride=8", "drop_path=0.2"], ["depth_mult=1.5",
    "outputs=[c3,c4.0,c5.2]"]],
    "efficientnet_lite0": [["width_mult=1.4", "depth_mult=1.8", "input.size=300", "dropout=0.3"]],
    "resnet50": [["table.defaults.groups=32", "stages.c4.0.repeat=23", "dilation_policy=include_strided",
    "output_stride=8"]],
    "mobilevit_s": [["dilated=true", "stages.c3.1.patch=[1,2]"], ["squeeze.rounding.min=4",
    "init.conv={normal: 1e-5}"]],
    "timm_mnv3_small": [["dilated=true", "width_mult=0.75"]],
}  # fmt: skip
CASES = [(name, texts) for name in BUNDLED for texts in [[], *OVERRIDES[""], *OVERRIDES.get(name, [])]]


def reload(text: str, tmp_path: Path) -> archc.Spec:
    path = tmp_path / "again.yaml"
    path.write_text(text, encoding="utf-8")
    return archc.load(path)


@pytest.mark.parametrize("full", [False, True], ids=["short", "full"])
@pytest.mark.parametrize(("name", "texts"), CASES, ids=[" ".join([name, *texts]) for name, texts in CASES])
def test_a_printed_spec_is_the_same_network_after_every_pass(
    name: str, texts: list[str], full: bool, tmp_path: Path
) -> None:
    spec = archc.load(name, texts)
    graph = archc.lower(spec)
    for after in (None, *passes.PASSES):
        rewritten = spec if after is None else passes.run(spec, after)
        text = rewritten.to_yaml(full)
        again = reload(text, tmp_path)
        assert archc.lower(again) == graph, after
        assert again.to_yaml(full) == text
        if after is None:
            kept = spec.__dict__.keys() - {"table", "vars"}
            assert {key: getattr(again, key) for key in kept} == {key: getattr(spec, key) for key in kept}


def test_short_is_what_was_written() -> None:
    text = archc.load("mobilenet_v2", ["width_mult=0.5"]).to_yaml()
    written = yaml.safe_load(text)
    assert list(written) == ["name", "input", "num_classes", "width_mult", "dropout", "act", "norm", "init", "stages"]
    assert text.count("\n    - {block: ") == sum(1 for _ in archc.load("mobilenet_v2").rows())
    assert "- {block: conv, out: 1280, kernel: 1, scale: grow}" in text
    assert "- {block: dropout, rate: 0.2}" in text


def test_full_states_every_default() -> None:
    written = yaml.safe_load(archc.load("mnv3_small").to_yaml(full=True))
    assert written["depth_mult"] == 1.0
    assert written["rounding"] == {"divisor": 8, "limit": 0.9}
    assert written["stages"]["stem"][0]["groups"] == 1


def spec_of(**top: Any) -> archc.Spec:
    return archc.load({"stages": {"c1": [{"block": "conv", "out": 8, "kernel": [1, 3]}]}, **top})


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        (spec_of(name="net-1.0+a"), "name: net-1.0+a"),
        (spec_of(name="123"), 'name: "123"'),
        (spec_of(name="1e5"), 'name: "1e5"'),
        (spec_of(name="true"), 'name: "true"'),
        (spec_of(name="null"), 'name: "null"'),
        (spec_of(norm={"eps": 1e-5}), "norm: {eps: 1.0e-05}"),
        (spec_of(norm={"eps": 1.25e-7}), "norm: {eps: 1.25e-07}"),
        (spec_of(input={"size": [224, 224], "mean": 0.5}), "input: {size: 224, mean: 0.5}"),
        (spec_of(input={"size": [96, 128]}), "input: {size: [96, 128]}"),
        (spec_of(init={"linear": {"normal": 0.01}}), "init: {linear: {normal: 0.01}}"),
        (spec_of(outputs=["c1", "c1.0.conv"]), "outputs: [c1, c1.0.conv]"),
        (spec_of(outputs={"a": "c1"}), "outputs: {a: c1}"),
        (spec_of(), "    - {block: conv, out: 8, kernel: [1, 3]}"),
    ],
)
def test_values_print_as_people_write_them(spec: archc.Spec, line: str, tmp_path: Path) -> None:
    text = spec.to_yaml()
    assert line in text.splitlines()
    assert archc.lower(reload(text, tmp_path)) == archc.lower(spec)


def test_a_null_that_means_something_is_printed(tmp_path: Path) -> None:
    """A block's default can be a value, and null another one."""
    source = {
        "act": "silu",
        "stages": {"c1": [{"block": "inverted_residual", "expand": 16, "out": 8, "out_act": None}]},
    }
    spec = archc.load(source)
    assert "out_act: null" in spec.to_yaml()
    for full in (False, True):
        assert archc.lower(reload(spec.to_yaml(full), tmp_path)) == archc.lower(spec)


def test_text_that_yaml_or_interpolation_would_misread(tmp_path: Path) -> None:
    from archc.document.dump import flow

    for text in (
        "",
        " ",
        "a b",
        "a: b",
        "# c",
        "- d",
        "'",
        '"',
        "\\",
        "é→🙂",
        "\x07\n\u2028",
        "4x",
        "0x1F",
        ".5",
        "~",
        "<<",
        "${a}",
        r"\${a}",
        "a,b",
        "[x]",
        "yes",
    ):
        path = tmp_path / "a.yaml"
        line = f"vars: {flow({'x': text})}\nstages: {{c1: [{{block: conv, out: 8}}]}}\n"
        path.write_text(line, encoding="utf-8")
        assert archc.load(path).vars == {"x": text}, line
