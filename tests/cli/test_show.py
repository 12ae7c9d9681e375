from __future__ import annotations

from pathlib import Path

import pytest

import archc
from archc import passes
from archc.ir import printer
from tests.cli.conftest import Run


@pytest.mark.parametrize("after", ["load", *passes.PASSES])
@pytest.mark.parametrize("spec", ["mnv3_small", "efficientnet_lite0", "mobilevit_xs"])
def test_the_spec_after_any_pass_is_the_same_network(run: Run, tmp_path: Path, spec: str, after: str) -> None:
    result = run("show", spec, "width_mult=0.75", "--after", after)
    assert result.code == 0
    path = tmp_path / "shown.yaml"
    path.write_text(result.out)
    shown, original = archc.report(str(path)), archc.report(archc.load(spec, ["width_mult=0.75"]))
    assert shown.to_dict()["layers"] == original.to_dict()["layers"]


def test_passes_do_what_their_names_say(run: Run) -> None:
    assert "width_mult: 0.75" in run("show", "mnv3_small", "width_mult=0.75").out
    scaled = run("show", "mnv3_small", "width_mult=0.75", "--after", "scale_width").out
    assert "width_mult" not in scaled
    assert "expand: 216, out: 72" in scaled


def test_full_shows_every_setting(run: Run) -> None:
    assert "dilation_policy" not in run("show", "mnv3_small").out
    assert "dilation_policy: include_strided" in run("show", "mnv3_small", "--full").out


def test_lower_shows_the_graph(run: Run) -> None:
    graph = archc.lower(archc.load("mobilevit_xxs"))
    assert run("show", "mobilevit_xxs", "--after", "lower").out == printer.text(graph) + "\n"
