from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import torchvision

import archc
from tests.cli.conftest import Run

WIDTHS = (0.5, 0.75, 1.0)


@functools.cache
def torchvision_params(width: float, dilated: bool) -> int:
    with torch.device("meta"):
        model = torchvision.models.mobilenet_v3_small(width_mult=width, dilated=dilated)
    return sum(parameter.numel() for parameter in model.parameters())


def test_json_is_the_report(run: Run) -> None:
    printed = run("report", "specs/mnv3_small.yaml", "width_mult=0.75", "--json").json
    assert printed == archc.report(archc.load("mnv3_small", ["width_mult=0.75"])).to_dict()
    assert printed["params"] == torchvision_params(0.75, False)
    assert printed["params"] == sum(layer["params"] for layer in printed["layers"])
    assert printed["macs"] == sum(layer["macs"] for layer in printed["layers"])


def test_layers_have_a_line_each(run: Run) -> None:
    text = run("report", "mnv3_small", "--layers").out
    layers = run("report", "mnv3_small", "--json").json["layers"]
    starts = [line.split(" ")[0] for line in text.splitlines()]
    assert starts[4 : 4 + len(layers)] == [layer["name"] for layer in layers]


def test_stages_add_up_and_name_their_blocks() -> None:
    report = archc.report(archc.load("mobilevit_xxs"))
    assert sum(part.params for part in report.stages) == report.params
    assert sum(part.macs for part in report.rows) == report.macs
    assert report.stages[-2].blocks == ("InvertedResidual", "MobileVitBlock", "ConvNormAct")
    assert report.stages[0].output == (16, 128, 128)


def test_outputs_show_channels_and_strides(run: Run) -> None:
    text = run("report", "mnv3_small", "outputs=[c5,c3]").out
    assert "c5: 576×7×7, stride 32" in text
    assert "c3: 24×28×28, stride 8" in text
    assert "receptive field   639 pixels" in text, "the widest of all outputs"


def test_a_sweep_compares_every_combination(run: Run) -> None:
    arguments = ("report", "specs/mnv3_small.yaml", "width_mult=0.5,0.75,1.0", "dilated=true,false")
    rows = run(*arguments, "--json").json
    found = {(row["overrides"]["width_mult"], row["overrides"]["dilated"]): row["params"] for row in rows}
    assert found == {(w, d): torchvision_params(w, d) for w in WIDTHS for d in (True, False)}
    text = run(*arguments).out
    for (width, dilated), params in found.items():
        assert any(line.split()[:3] == [str(width), str(dilated).lower(), f"{params:,}"] for line in text.splitlines())


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("width_mult=choice(0.5,0.75)", [0.5, 0.75]),
        ("width_mult=range(1,3)", [1, 2]),
        ("num_classes=range(10,31,10)", [10, 20, 30]),
        ("act=relu,silu", ["relu", "silu"]),
        ("input.size=[224,320],192", [[224, 320], 192]),
        ("stages.c4.0.out=40,48", [40, 48]),
    ],
)
def test_every_way_to_sweep(run: Run, override: str, values: list[Any]) -> None:
    key = override.partition("=")[0]
    rows = run("report", "mnv3_small", override, "dropout=0.1", "--json").json
    assert [row["overrides"] for row in rows] == [{key: value, "dropout": 0.1} for value in values]


def test_a_row_of_a_sweep_is_the_report_of_its_overrides(run: Run) -> None:
    first, second = run("report", "mnv3_small", "width_mult=0.5,0.75", "--json").json
    assert second.pop("overrides") == {"width_mult": 0.75}
    assert second == run("report", "mnv3_small", "width_mult=0.75", "--json").json
    assert first["params"] < second["params"]


def test_a_combination_that_fails_does_not_hide_the_others(run: Run) -> None:
    arguments = ("report", "mnv3_small", "stages.c3.0.out=24,wide,32")
    result = run(*arguments)
    assert result.code == 1
    lines = [line.split() for line in result.out.splitlines()]
    assert ["wide", "–", "–", "–", "error[invalid-value]"] in lines
    assert [line[0] for line in lines if line][3:6] == ["24", "wide", "32"]
    assert "stages.c3.0.out=wide" in result.err
    good, bad, other = run(*arguments, "--json").json
    assert good["params"] != other["params"]
    assert bad["overrides"] == {"stages.c3.0.out": "wide"}
    assert bad["diagnostics"][0]["id"] == "invalid-value"


def test_a_sweep_whose_combinations_all_fail(run: Run) -> None:
    result = run("report", "mnv3_small", "act=swosh,reluu")
    assert result.code == 1
    assert result.err.count("error[invalid-value]") == 2
    assert result.out.count("error[invalid-value]") == 2


def test_a_spec_that_cannot_be_read_has_no_rows(run: Run) -> None:
    result = run("report", "mnv3_smal", "width_mult=1,2")
    assert result.code == 2
    assert result.out == ""
    assert result.err.count("error[") == 1


def test_a_warning_of_every_combination_is_shown_once(run: Run) -> None:
    result = run("report", "mnv3_small", "depth_mult=2", "width_mult=0.5,1.0,2.0")
    assert result.code == 0
    assert result.err.count("warning[unused-setting]") == 1
