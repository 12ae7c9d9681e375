"""Detectors on the command line: what is shown, written and counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import archc
from tests.cli.conftest import ROOT, Run

MOBILE, SSD = "fasterrcnn_mnv3_large_320_fpn", "ssdlite320_mnv3_large"
SMALL = ("input.size=96", "width_mult=0.35")


@pytest.mark.parametrize("name", [MOBILE, SSD, "ssdlite_mobilevit_s", "fasterrcnn_resnet50_fpn"])
def test_build_verifies_heads_too(run: Run, name: str) -> None:
    result = run("build", name)
    report = archc.report(name)
    assert result.code == 0
    assert f"verified: the module has {report.params:,} parameters and {report.macs:,} MACs" in result.out


@pytest.mark.parametrize("command", [["check"], ["report"], ["build"], ["show", "--after", "lower"]])
def test_two_levels_of_one_stride_are_warned_of_once(run: Run, command: list[str]) -> None:
    result = run(*command, MOBILE)
    assert result.code == 0
    assert result.err.count("same-stride") == 1
    assert "fasterrcnn_mnv3_large_fpn.yaml:" in result.err
    assert "^^^^^^^^^^^^" in result.err


def test_the_report_states_the_cost_of_a_proposal(run: Run) -> None:
    result = run("report", MOBILE)
    assert "proposals         14,359,552 MACs each, at most 150 of them; 718,998,400 for the rest" in result.out
    rows = [line.split() for line in result.out.splitlines() if line.startswith("rpn.")]
    assert [row[row.index("on") + 1] for row in rows] == ["0", "1", "pool"]
    assert [row[-4] for row in rows] == ["609,355", "0", "0"]
    layers = run("report", MOBILE, "--layers")
    assert "roi_heads.fc6.0.linear on 150 proposals" in layers.out
    assert "\nproposals" not in run("report", SSD).out


def test_a_sweep_of_a_knob(run: Run) -> None:
    result = run("report", MOBILE, "detector.rpn.post_nms_top_n_test=50,100,150", "--json")
    macs = [one["macs"] for one in result.json]
    assert macs[1] - macs[0] == macs[2] - macs[1] == 50 * 14_359_552


def test_the_graph_of_two_detectors_is_compared_by_heads(run: Run) -> None:
    result = run("diff", "fasterrcnn_mnv3_large_fpn", MOBILE)
    assert result.code in (0, 1)
    assert "roi_heads" in result.out
    assert "detector.rpn.post_nms_top_n_test" in result.out


def test_what_build_writes_is_the_same_detector(run: Run, tmp_path: Path) -> None:
    assert run("build", SSD, *SMALL, "-o", str(tmp_path / "out")).code == 0
    spec = tmp_path / "out" / "spec.yaml"
    expected = archc.build(archc.load(SSD, SMALL), seed=0).eval()
    model = archc.build(str(spec), seed=1).eval()
    archc.load_weights(model, tmp_path / "out")
    image = torch.rand(3, 80, 120, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, other = expected([image])[0], model([image])[0]
    assert len(one["scores"]) > 5
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert run("report", str(spec), "--json").json == run("report", SSD, *SMALL, "--json").json


@pytest.mark.parametrize("name", [MOBILE, SSD])
def test_other_counters_agree(run: Run, name: str) -> None:
    for counter in ("torch", "fvcore"):
        compared = run("report", name, *SMALL, "--counter", counter, "--json").json["counter"]
        assert compared["explained"]
        ours = {line["operation"]: line["difference"] for line in compared["operations"]}
        assert ours.get("convolutions", ours.get("conv")) == 0
        assert ours.get("matrix products", ours.get("linear", 0)) == 0


def test_the_printed_graph_has_what_is_called(run: Run) -> None:
    lines = run("show", MOBILE, "--after", "lower").out.splitlines()
    calls = [line for line in lines if line.startswith("call ")]
    assert calls == ["call roi_heads on proposals × 150"]
    assert any(line.split() == ["scores.0.linear", "=", "linear(fc7.0.act)", "{out=91}", "->", "91"] for line in lines)
    shared = [line for line in lines if "with the weights of" in line]
    assert [line.split()[0] for line in shared] == [
        f"rpn.{level}.{part}" for level in (1, 2) for part in ("conv.0.conv", "objectness", "deltas")
    ]
    assert shared[0].endswith("with the weights of rpn.0.conv.0.conv")


@pytest.mark.parametrize("arguments", [("build", SSD), ("build", "mnv3_small", "norm.kind=frozen_batch")])
def test_without_torchvision(run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    result = run(*arguments)
    assert result.code == 2
    assert "this needs torchvision, which is not installed: pip install 'archc[detection]'" in result.err


@pytest.mark.parametrize("arguments", [(SSD, []), ("mnv3_small", ["norm.kind=frozen_batch"])])
def test_without_torchvision_in_python(arguments: tuple[str, list[str]]) -> None:
    program = f"import sys; sys.modules['torchvision'] = None; import archc; archc.build(archc.load(*{arguments}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: ")
    assert last.endswith(": pip install 'archc[detection]'")


def test_weights_on_the_command_line(run: Run, tmp_path: Path) -> None:
    narrow = "width_mult=0.35"
    model = archc.build(archc.load(SSD, [narrow]), seed=0)
    archc.save_weights(model, tmp_path / "tv.safetensors", names="torchvision")
    result = run("weights", SSD, narrow, str(tmp_path / "tv.safetensors"))
    assert (result.code, result.err) == (0, "")
    assert "torchvision" in result.out
    wrong = run("weights", SSD, narrow, "num_classes=21", str(tmp_path / "tv.safetensors"))
    assert wrong.code == 1
    assert "this checkpoint fits with `num_classes=91`" in wrong.err
