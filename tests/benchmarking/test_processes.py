"""Workers as processes: they run, agree with torch, use no processor while they wait, and fail alone."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import archc
from archc.benchmarking.bench import run
from archc.benchmarking.job import Job, images, store
from archc.benchmarking.pinning import cores
from archc.benchmarking.plan import Plan, chosen
from archc.benchmarking.prepare import checked, job_of, outputs_of, write_file
from archc.benchmarking.process import ImpossibleJobError, Process, WorkerError
from archc.exporting.network import Network, open_network

pytestmark = pytest.mark.slow  # every worker imports a library in a process of its own

TINY = ["input.size=32", "width_mult=0.25", "num_classes=5"]


def tiny(seed: int = 0) -> Network:
    return open_network("mnv3_small", seed=seed, overrides=TINY)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    store(tiny(), tmp_path / "network")
    return tmp_path / "network"


def job(home: Path, engine: str) -> Job:
    return job_of(home, engine, "f32", threads=1, batch=2)


@pytest.fixture
def eager(home: Path) -> Iterator[Process]:
    with Process(job(home, "eager")) as process:
        yield process


def processor_time(pid: int) -> float:
    """Seconds that a process has computed, with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_eager_torch_is_the_built_network(home: Path, eager: Process) -> None:
    network = tiny()
    given = images(network.graph, 2)
    with torch.inference_mode():
        wanted = archc.build(network.graph, state=network.state).eval()(torch.from_numpy(given)).numpy()
    found = outputs_of(eager, home)
    assert list(found) == ["head"]
    np.testing.assert_array_equal(found["head"], wanted)
    times = eager.ask("round", runs=4)["times"]
    assert len(times) == 4
    assert min(times) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="a process can be pinned and watched on Linux")
def test_a_worker_is_pinned_and_computes_nothing_while_it_waits(home: Path) -> None:
    wanted = job(home, "onnxruntime")
    write_file(wanted)
    with Process(wanted) as process:
        assert os.sched_getaffinity(process.pid) == set(cores(1))
        process.ask("round", runs=20)
        before = processor_time(process.pid)
        time.sleep(0.5)
        assert processor_time(process.pid) == before
        assert Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        process.ask("round", runs=20)
        assert processor_time(process.pid) >= before


def test_a_file_of_another_network_is_found_out(home: Path, eager: Process, tmp_path: Path) -> None:
    store(tiny(seed=1), tmp_path / "other")
    other = job(tmp_path / "other", "onnxruntime")
    write_file(other)
    with Process(replace(other, network=str(home))) as process:
        outputs = outputs_of(process, home)
    with pytest.raises(WorkerError, match=r"differ from torch's by .*; rounding allows 0\.001"):
        checked(outputs, outputs_of(eager, home), "f32")


def test_outputs_that_are_missing_or_not_finite_are_wrong() -> None:
    right = {"head": np.ones((1, 3), dtype=np.float32)}
    assert checked({"head": right["head"] * (1 + 1e-6)}, right, "f32") == pytest.approx(1e-6, rel=0.1)
    with pytest.raises(WorkerError, match="lack `head`"):
        checked({}, right, "f32")
    for precision in ("f32", "int8"):
        with pytest.raises(WorkerError, match="differ from torch's by nan"):
            checked({"head": right["head"] * np.nan}, right, precision)


def test_how_a_worker_ended_is_told(home: Path, eager: Process) -> None:
    os.kill(eager.pid, signal.SIGSEGV)
    os.kill(eager.pid, signal.SIGCONT)
    with pytest.raises(WorkerError, match="signal SIGSEGV ended it"):
        eager.ask("round", runs=1)
    damaged = replace(job(home, "onnxruntime"), file=str(home / "damaged.onnx"))
    Path(damaged.file).write_bytes(b"no network")
    with pytest.raises(WorkerError, match="ValueError"):
        Process(damaged)


def test_what_an_engine_cannot_do_is_told(home: Path) -> None:
    with pytest.raises(ImpossibleJobError, match="eager computes in f32, bf16"):
        Process(replace(job(home, "eager"), precision="int8"))
    with pytest.raises(ImpossibleJobError, match="onnxruntime computes in"):
        write_file(replace(job(home, "onnxruntime"), precision="bf16"))


def children() -> dict[str, int]:
    """The workers of this process, by what they opened."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            command = (path / "cmdline").read_bytes()
            if int(fields[1]) == os.getpid() and b"archc.benchmarking.worker" in command:
                opened = (path / "maps").read_text()
                found["onnxruntime" if "onnxruntime" in opened else "torch"] = int(path.name)
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_worker_that_crashes_fails_its_row_only() -> None:
    def step(text: str) -> None:
        if "round 2" in text:
            os.kill(children()["onnxruntime"], signal.SIGKILL)

    found = run({"tiny": tiny()}, Plan(["eager", "onnxruntime", "litert"], rounds=3), step)
    rows = {timing.engine: timing for timing in found.timings}
    assert found.failed
    assert (rows["onnxruntime"].status, rows["onnxruntime"].reason) == ("failed", "signal SIGKILL ended it")
    assert rows["onnxruntime"].spread is None
    for name in ("eager", "litert"):
        assert rows[name].status == "timed"
        assert rows[name].spread is not None
    assert children() == {}


def test_a_benchmark_of_batches_and_precisions() -> None:
    plan = Plan(["onnxruntime"], batches=[1, 3], precisions=["f32", "f16", "bf16"], rounds=2)
    found = run({"tiny": tiny()}, plan)
    assert [(t.engine, t.precision, t.batch) for t in found.timings] == [
        (engine, precision, batch)
        for batch in (1, 3)
        for engine, precision in (
            ("eager", "f32"),
            ("onnxruntime", "f32"),
            ("onnxruntime", "f16"),
            ("onnxruntime", "bf16"),
        )
    ]
    for timing in found.timings:
        if timing.precision == "bf16":
            assert timing.status == "impossible"
            continue
        assert timing.status == "timed"
        assert timing.spread is not None
        assert 0 < timing.spread.low <= timing.spread.median <= timing.spread.high
        if timing.engine == "eager":
            assert (timing.ratio, timing.difference, timing.size) == (1.0, None, None)
        else:
            assert timing.ratio is not None
            assert timing.difference is not None
            assert timing.difference < (1e-5 if timing.precision == "f32" else 1e-2)
            assert timing.size is not None
    sizes = {timing.precision: timing.size for timing in found.timings}
    assert sizes["f16"] / sizes["f32"] == pytest.approx(0.5, abs=0.1)
    assert not found.failed
    assert found.to_dict()["timings"][0]["runtime"] == "eager"


def test_plans_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="there is no runtime 'onnxruntme': did you mean"):
        chosen(["onnxruntme"])
    with pytest.raises(ValueError, match="there is no precision 'f23'"):
        Plan(["eager"], precisions=["f23"]).check()
    with pytest.raises(ValueError, match="threads would share"):
        Plan(["eager"], threads=[10_000]).check()
    with pytest.raises(ValueError, match="`batch` must be 1 or more"):
        archc.bench("mnv3_small", batch=0)
    with pytest.raises(ValueError, match="name one spec, without a sweep"):
        archc.bench("mnv3_small", weights="x.safetensors", overrides=["width_mult=0.5,1.0"])
