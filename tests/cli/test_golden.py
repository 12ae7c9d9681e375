"""Whole outputs, which double as documentation. `pytest --accept` writes them anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run

Golden = Callable[[str, str], None]

COMMANDS = {
    "report.txt": "report specs/mnv3_small.yaml width_mult=0.75",
    "report_layers.txt": "report specs/mnv3_small.yaml --layers outputs=[c2]",
    "report_outputs.txt": "report mobilevit_xxs outputs=[c3,c4,c5]",
    "report_fvcore.txt": "report mobilevit_s --counter fvcore",
    "sweep.txt": "report specs/mnv3_small.yaml width_mult=0.5,0.75,1.0 dilated=true,false",
    "diff.txt": "diff mnv3_small --b width_mult=0.75",
    "diff_timm.txt": "diff mnv3_small timm_mnv3_small",
    "explain.txt": "explain row-length",
    "show.txt": "show mnv3_small width_mult=0.75 reduced_tail=true --after scale_width",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_output(run: Run, golden: Golden, name: str) -> None:
    command = COMMANDS[name]
    result = run(*command.split())
    assert (result.code, result.err) == (0, "")
    golden(name, f"$ archc {command}\n{result.out}")


BROKEN = """\
defaults: [mnv3_small, _self_]
name: my_network
widht_mult: 0.5
norm: {kind: batch, eps: small}
stages:
  c2:
    - [3, 16, 16, true, relu]
  c3:
    - {block: inverted_residual, kernal: 5, expand: 72, out: 24}
    - {block: inverted_residul, expand: 88, out: 24}
  c6:
    - {block: conv, out: 64, act: swosh}
"""


def test_diagnostics(run: Run, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(BROKEN, encoding="utf-8")
    command = "check my.yaml dropout=1.5"
    result = run(*command.split())
    assert result.code == 1
    golden("diagnostics.txt", f"$ cat my.yaml\n{BROKEN}\n$ archc {command}\n{result.err}{result.out}")
