"""Users add blocks without touching archc: by path, by registration, by an installed package's entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import archc
from archc.language.registry import BlockRegistry

from .custom import Ghost

PATH = "tests.blocks.custom:Ghost"


def network(block: str) -> dict[str, Any]:
    return {
        "name": "ghost",
        "input": {"size": 16},
        "stages": {"c": [{"block": block, "out": 24}, {"block": block, "out": 16}]},
    }


def test_by_path() -> None:
    spec = archc.load(network(PATH))
    report = archc.report(spec)
    module = archc.build(spec, seed=0)
    assert module(torch.zeros(2, 3, 16, 16)).shape == (2, 16, 16, 16)
    assert report.params == sum(p.numel() for p in module.parameters())
    # 3→12 pointwise, 12 depthwise 3×3, 24→8 pointwise, 8 depthwise; two norms of 2·half each time.
    assert report.params == 3 * 12 + 12 * 9 + 4 * 12 + 24 * 8 + 8 * 9 + 4 * 8
    assert type(module.c[0]).__name__ == "Ghost"


def test_width_mult_finds_its_channels() -> None:
    wide = archc.load(network(PATH), ["width_mult=2"])
    assert archc.report(wide).layers[-1].output[0] == 16
    assert archc.lower(wide).outputs
    assert archc.report(wide).outputs[0].output[0] == 32


def test_by_registration() -> None:
    archc.REGISTRY.register("ghost_for_test", Ghost)
    assert archc.report(archc.load(network("ghost_for_test"))).params == archc.report(archc.load(network(PATH))).params
    with pytest.raises(ValueError, match="already registered"):
        archc.REGISTRY.register("ghost_for_test", archc.Block)


def test_a_typo_in_its_rows_is_found() -> None:
    broken = network(PATH)
    broken["stages"]["c"][0]["kernal"] = 5
    with pytest.raises(archc.SpecError) as caught:
        archc.load(broken)
    assert "did you mean `kernel`?" in str(caught.value)


@pytest.mark.parametrize(
    ("block", "id"),
    [
        ("tests.blocks.custom:NotABlock", "bad-block"),
        ("tests.blocks.custom:Missing", "bad-block"),
        ("no_such_package:Ghost", "bad-block"),
        ("os:system", "bad-block"),
        ("archc.blocks.base:Block", "bad-block"),
        ("archc.language.row:Row", "bad-block"),
        ("gohst", "unknown-block"),
        ("inverted_residul", "unknown-block"),
    ],
)
def test_what_is_no_block(block: str, id: str) -> None:
    with pytest.raises(archc.SpecError) as caught:
        archc.load(network(block))
    assert {d.id for d in caught.value.diagnostics} == {id}


def test_by_entry_point(tmp_path: Path) -> None:
    (tmp_path / "ghosts.py").write_text((Path(__file__).parent / "custom.py").read_text(encoding="utf-8"))
    info = tmp_path / "ghosts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ghosts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[archc.blocks]\nghost = ghosts:Ghost\n")
    program = (
        "import archc\n"
        "rows = [{'block': 'ghost', 'out': 24}, {'block': 'ghost', 'out': 16}]\n"
        "spec = archc.load({'name': 'g', 'input': {'size': 16}, 'stages': {'c': rows}})\n"
        "print(archc.report(spec).params)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(archc.__file__).parents[1])])}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert done.stdout.strip() == str(archc.report(archc.load(network(PATH))).params), done.stderr


def test_a_shape_that_an_override_broke_points_at_the_override() -> None:
    with pytest.raises(archc.SpecError) as caught:
        archc.lower(archc.load("mobilevit_xxs", ["stages.c3.1.heads=7"]))
    (problem,) = caught.value.diagnostics
    assert problem.span is not None
    assert (problem.id, problem.span.source.text) == ("shape", "stages.c3.1.heads=7")


def test_registries_are_independent() -> None:
    own = BlockRegistry()
    own.register("only_here", Ghost)
    assert "only_here" in own.names()
    assert "only_here" not in archc.REGISTRY.names()
