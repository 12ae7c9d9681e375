"""Other counters agree with us, or every difference has a reason that yields exactly its number."""

from __future__ import annotations

import re
import sys
import warnings

import fvcore.nn
import pytest
import timm
import torch
import torchvision
from torch import nn

from archc import extras
from archc.reporting.comparison import with_fvcore
from tests.cli.conftest import Run


def count_with_fvcore(model: nn.Module, size: int) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analysis = fvcore.nn.FlopCountAnalysis(model.eval(), torch.zeros(1, 3, size, size))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return int(analysis.total())


PEERS = {
    "mnv3_small": (lambda: torchvision.models.mobilenet_v3_small(), 224),
    "resnet50": (lambda: torchvision.models.resnet50(), 224),
    "mobilevit_s": (lambda: timm.create_model("mobilevit_s"), 256),
}


@pytest.mark.parametrize("spec", PEERS)
def test_fvcore_counts_our_module_as_the_peers_and_every_difference_is_explained(run: Run, spec: str) -> None:
    make, size = PEERS[spec]
    result = run("report", spec, "--counter", "fvcore", "--json").json
    counter = result["counter"]
    assert counter["explained"]
    assert counter["archc"] == result["macs"]
    assert counter["other"] - counter["archc"] == counter["difference"]
    assert sum(line["difference"] for line in counter["operations"]) == counter["difference"]
    for line in counter["operations"]:
        assert line["difference"] == line["other"] - line["archc"]
        assert bool(line["reason"]) == bool(line["difference"])
        if product := re.search(r"(\d+) × ([\d,]+)", line["reason"]):
            assert int(product[1]) * int(product[2].replace(",", "")) == line["difference"]
    peer = count_with_fvcore(make(), size)
    # timm writes MobileViT's 1×1 convolutions and its patches otherwise, but what fvcore sees of it is the same.
    assert counter["other"] == peer


def test_the_text_shows_both_numbers(run: Run) -> None:
    text = run("report", "mnv3_small", "--counter", "fvcore").out
    counter = run("report", "mnv3_small", "--counter", "fvcore", "--json").json["counter"]
    (total,) = [line for line in text.splitlines() if line.startswith("total") and "+" in line]
    assert total.split()[1:] == [f"{counter['archc']:,}", f"{counter['other']:,}", f"{counter['difference']:+,}"]
    assert "fvcore adds 2 × " in text


def test_a_difference_without_a_reason_says_so() -> None:
    import archc

    report = archc.report("mnv3_small")
    comparison = with_fvcore(report, {"conv": 1, "grid_sampler": 7}, "0")
    assert not comparison.explained
    assert {line.operation for line in comparison.lines if "unexplained" in line.reason} >= {"conv", "grid_sampler"}
    assert comparison.total.archc == report.macs
    assert comparison.total.other == 8


@pytest.mark.parametrize("spec", ["mnv3_large", "mobilevit_xxs", "efficientnet_lite0"])
def test_torchs_own_counter_agrees(run: Run, spec: str) -> None:
    result = run("report", spec, "--counter", "torch", "--json").json
    assert result["counter"]["difference"] == 0
    assert result["counter"]["other"] == 2 * result["macs"]
    assert result["counter"]["unit"] == "FLOPs"


@pytest.mark.parametrize(("counter", "missing", "extra"), [("fvcore", "fvcore", "fvcore"), ("torch", "torch", "torch")])
def test_a_missing_package_names_the_extra(
    run: Run, monkeypatch: pytest.MonkeyPatch, counter: str, missing: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "fvcore.nn", raising=False)
    result = run("report", "mnv3_small", "--counter", counter)
    assert result.code == 2
    assert f"pip install 'archc[{extra}]'" in result.err


def test_a_broken_package_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ModuleNotFoundError("No module named 'iopath'", name="iopath")

    monkeypatch.setattr(extras.importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError):
        extras.require("fvcore.nn", "fvcore")
