from __future__ import annotations

from pathlib import Path

import archc
from tests.cli.conftest import Run


def test_json_says_what_differs_and_what_it_costs(run: Run) -> None:
    found = run("diff", "mnv3_small", "--b", "width_mult=0.75", "--json").json
    before, after = archc.report("mnv3_small"), archc.report(archc.load("mnv3_small", ["width_mult=0.75"]))
    assert found["settings"] == [{"key": "width_mult", "before": 1.0, "after": 0.75}]
    assert found["totals"] == [{"params": r.params, "macs": r.macs} for r in (before, after)]
    rows = {row["after"]: {c["key"]: (c["before"], c["after"]) for c in row["changes"]} for row in found["rows"]}
    assert rows["c4.0"] == {"expand": (96, 72), "out": (40, 32)}
    assert rows["head.1"] == {"out": (1024, 768)}
    assert "c2.0" not in rows
    stages = {stage["name"]: (stage["before"], stage["after"]) for stage in found["stages"]}
    for ours, theirs in zip(before.stages, after.stages, strict=True):
        assert stages[ours.name] == tuple({"params": p.params, "macs": p.macs} for p in (ours, theirs))


def test_overrides_are_for_both_sides(run: Run) -> None:
    found = run("diff", "mnv3_small", "dropout=0.5", "--a", "act=relu6", "--b", "act=silu", "--json").json
    assert found["settings"] == [{"key": "act", "before": "relu6", "after": "silu"}]


def test_a_removed_row_moves_no_other(run: Run) -> None:
    found = run("diff", "mnv3_small", "--b", "~stages.c4.1", "--json").json
    # Rows 1 and 2 of the stage are alike, so either may be the one that went.
    (row,) = found["rows"]
    assert row["before"] in ("c4.1", "c4.2")
    assert row["after"] is None
    assert {"key": "expand", "before": 240, "after": None} in row["changes"]
    assert (
        "- inverted_residual  -kernel 5, -expand 240, -out 40" in run("diff", "mnv3_small", "--b", "~stages.c4.1").out
    )


def test_a_stage_that_only_one_side_has(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "more.yaml"
    path.write_text("defaults: [mnv3_small, _self_]\nstages: {extra: [{block: linear, out: 5}]}\n")
    found = run("diff", "mnv3_small", str(path), "--json").json
    (extra,) = [stage for stage in found["stages"] if stage["name"] == "extra"]
    assert extra == {"name": "extra", "before": None, "after": {"params": 5005, "macs": 5000}}
    assert [stage["name"] for stage in found["stages"]][-1] == "extra"
    back = run("diff", str(path), "mnv3_small", "--json").json
    assert [stage["name"] for stage in back["stages"]][-1] == "extra"
    assert "extra.0  + linear  +out 5" in run("diff", "mnv3_small", str(path)).out


def test_the_same_network(run: Run) -> None:
    result = run("diff", "mnv3_small", "specs/mnv3_small.yaml")
    assert result.code == 0
    assert "No setting and no row differs." in result.out


def test_another_family(run: Run) -> None:
    result = run("diff", "resnet50", "mobilevit_s")
    assert result.code == 0
    assert "resnet50 → mobilevit_s" in result.out
