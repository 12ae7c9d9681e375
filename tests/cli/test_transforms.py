"""`--transform`, and `archc show --graph`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import archc
from archc.ir import Graph, printer
from archc.transforms import apply
from tests.cli.conftest import Run


def test_build_reports_and_verifies_the_rewritten_network(run: Run, tmp_path: Path) -> None:
    result = run("build", "mnv3_small", "--transform", "inference", "-o", str(tmp_path / "net"))
    assert result.code == 0
    assert "verified: the module has 2,536,800 parameters and 56,510,400 MACs, counted by torch" in result.out
    assert json.loads((tmp_path / "net" / "report.json").read_text())["params"] == 2_536_800


@pytest.mark.slow
def test_build_with_keras(run: Run) -> None:
    result = run("build", "mnv3_small", "--backend", "keras", "--transform", "drop_training_ops", "--transform",
                 "fold_norms")  # fmt: skip
    assert result.code == 0
    assert "verified: the model has 2,536,800 parameters and 0 statistics" in result.out


def test_show_prints_the_graph_before_and_after_transforms(run: Run) -> None:
    graph = archc.lower(archc.load("mnv3_small", ["width_mult=0.5"]))
    assert run("show", "mnv3_small", "width_mult=0.5", "--graph").out == printer.text(graph) + "\n"
    folded = apply(graph, None, ["drop_training_ops", "fold_norms"])[0]
    names = ("--transform", "drop_training_ops", "--transform", "fold_norms")
    shown = run("show", "mnv3_small", "width_mult=0.5", "--graph", *names)
    assert shown.out == printer.text(folded) + "\n"
    assert shown.out.startswith("graph mobilenet_v3_small (drop_training_ops, fold_norms)\n")
    for given, expected in (((), graph), (names, folded)):
        as_json = run("show", "mnv3_small", "width_mult=0.5", "--graph", "--json", *given)
        assert Graph.from_json(as_json.json) == expected


@pytest.mark.parametrize("command", [("build",), ("show", "--graph")])
def test_an_unknown_transform(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, "mnv3_small", "--transform", "fold_norm")
    assert result.code == 2
    assert "unknown-transform" in result.err
    assert "did you mean `fold_norms`?" in result.err


@pytest.mark.parametrize(("given", "said"), [
    (("--json",), "`--json` is for graphs: add `--graph`."),
    (("--transform", "inference"), "`--transform` is for graphs: add `--graph`."),
    (("--graph", "--after", "repeat"), "leave out `--after repeat`"),
    (("--graph", "--full"), "`--full` is for specs"),
])  # fmt: skip
def test_nothing_is_ignored(run: Run, given: tuple[str, ...], said: str) -> None:
    result = run("show", "mnv3_small", *given)
    assert result.code == 2
    assert said in " ".join(result.err.split())
