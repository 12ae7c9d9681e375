"""`archc bench`, and `archc report --latency` on a made-up table."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import archc
from archc.analysis.latency import Conditions, LatencyTable, Measured
from archc.analysis.units import units
from archc.transforms import apply
from tests.cli.conftest import ROOT, Run
from tests.cli.test_missing_extras import BLOCKER

TINY = ("input.size=32", "width_mult=0.25", "num_classes=5")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table in which every unit of mnv3_small takes a millisecond."""
    found = units(apply(archc.lower("mnv3_small"), None, ["inference"])[0])
    measured = Measured("small", float(len(found)), tuple((unit, 1.0) for unit in found))
    path = tmp_path / "table.json"
    path.write_text(LatencyTable(Conditions("rt", "1", "f32", 1, 1, "m"), (measured,)).to_json())
    return path


def test_a_report_with_latency(run: Run, table: Path) -> None:
    text = run("report", "mnv3_small", "--latency", str(table)).out
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    # Units by hand: the stem's one; a squeeze has four, and a first row of a stage as many as any.
    assert lines["stem"][-2:] == ["1.00", f"{100 / 73:.1f}"]
    assert lines["c2"][-2] == "6.00"
    assert lines["total"][-2:] == ["73.0", "100.0"]
    assert "rt 1, f32, 1 thread, batch 1, m" in text
    assert "73 operations measured, 0 estimated" in text
    layers = run("report", "mnv3_small", "--latency", str(table), "--layers").out.splitlines()
    assert next(line for line in layers if line.startswith("stem.0.conv ")).split()[-2] == "1.00"
    assert next(line for line in layers if line.startswith("stem.0.norm ")).split()[-1] == "–"
    value = run("report", "mnv3_small", "--latency", str(table), "--json").json["latency"]
    assert (value["ms"], value["measured"], value["estimated"]) == (73.0, 73, 0)
    assert sum(value["rows"].values()) == 73.0
    assert "latency" not in run("report", "mnv3_small", "--json").json


def test_a_sweep_with_latency(run: Run, table: Path) -> None:
    result = run("report", "mnv3_small", "stages.c4.1.kernel=5,7", "--latency", str(table))
    assert result.code == 1
    assert "error[unknown-latency]" in result.err
    assert "conv 7×7 depthwise + hardswish" in result.err
    line = next(line for line in result.out.splitlines() if line.startswith("5 "))
    assert line.split()[-2:] == ["73.0", "1×"]
    found = run("report", "mnv3_small", "num_classes=1000,10", "--latency", str(table), "--json").json
    assert [round(variant["latency"]["ms"]) for variant in found] == [73, 73]
    assert [variant["latency"]["estimated"] for variant in found] == [0, 1]


def test_tables_that_cannot_be_used(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    result = run("report", "mnv3_small", "--latency", str(other))
    assert (result.code, "error[latency-table]" in result.err) == (2, True)
    assert run("report", "mnv3_small", "--latency", str(tmp_path / "none.json")).code == 2
    assert run("report", "mnv3_small", "width_mult=1,2", "--latency", str(other)).code == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--runtime", "onnxruntme"), "did you mean"),
        (("--precision", "f23"), "there is no precision"),
        (("--threads", "0"), "no list of numbers"),
        (("--threads", "9999"), "threads would share"),
        (("--per-op",), "needs the table to write"),
        (("--append",), "about the table of `--per-op`"),
        (("--per-op", "-o", "t.json", "--csv", "t.csv"), "no place for single operations"),
        (("--per-op", "-o", "t.json", "--runtime", "litert"), "cannot be timed one by one"),
        (("--per-op", "-o", "t.json", "--threads", "1,2"), "holds for one `--threads`"),
        (("--weights", "x.pth", "width_mult=0.5,1"), "without a sweep"),
        (("--per-op", "-o", "README.md"), "exists already"),
        (("--csv", "README.md"), "exists already"),
    ],
)
def test_wrong_command_lines(run: Run, arguments: tuple[str, ...], says: str) -> None:
    result = run("bench", "mnv3_small", *arguments)
    assert result.code == 2
    assert says in result.err


@pytest.mark.slow
def test_bench_prints_a_table_and_writes_csv(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    result = run("bench", "mnv3_small", *TINY, "--runtime", "onnxruntime", "--rounds", "2", "--csv", str(path))
    assert result.code == 0, result.err
    rows = {line.split()[0]: line.split() for line in result.out.splitlines() if line}
    assert rows["eager"][2:5] == ["f32", "1", "1"]
    assert float(rows["onnxruntime"][-1]) < 1e-5
    with path.open() as file:
        written = list(csv.DictReader(file))
    assert [row["runtime"] for row in written] == ["eager", "onnxruntime"]
    assert float(written[1]["median_ms"]) > 0


@pytest.mark.slow
def test_per_op_adds_to_a_table(run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "table.json")
    bench = ("bench", "mnv3_small", *TINY[:1], *TINY[2:], "--per-op", "-o", path, "--rounds", "2")
    assert run(*bench, "width_mult=0.25,0.5", "--runtime", "eager").code == 0
    before = json.loads(Path(path).read_text())
    assert [network["name"].split()[-1] for network in before["networks"]] == ["width_mult=0.25", "width_mult=0.5"]
    again = run(*bench, "width_mult=0.5", "--runtime", "eager", "--append")
    assert (again.code, "already" in again.err) == (2, True)
    other = run(*bench, "width_mult=0.75", "--append")
    assert (other.code, "was measured with eager" in other.err) == (2, True)
    assert json.loads(Path(path).read_text()) == before
    assert run(*bench, "width_mult=0.75", "--runtime", "eager", "--append").code == 0
    after = json.loads(Path(path).read_text())
    assert after["networks"][:2] == before["networks"]
    assert len(after["networks"]) == 3


@pytest.mark.slow
def test_runtimes_that_are_not_installed_are_named(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    blocked = "onnxruntime openvino executorch coremltools ai_edge_litert"
    environment = {**os.environ, "PYTHONPATH": path, "BLOCKED": blocked}

    def lacking(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "archc", "bench", "mnv3_small", *TINY, "--rounds", "1", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    named = lacking("--runtime", "onnxruntime")
    assert (named.returncode, "pip install 'archc[onnx]'" in named.stderr) == (2, True)
    program = "import json; from archc.benchmarking.engines import *; print(json.dumps(absent(ENGINES)))"
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    missing = json.loads(found.stdout)
    assert sorted(missing) == ["coreml", "executorch", "litert", "onnxruntime", "openvino"]
    assert "pip install 'archc[litert]'" in missing["litert"]
