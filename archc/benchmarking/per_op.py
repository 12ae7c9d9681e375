"""Measure what each operation of networks takes on one engine, for a latency table."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from archc.analysis.latency import INFERENCE, Conditions, LatencyTable, Measured
from archc.analysis.units import Unit, units
from archc.benchmarking.bench import ROUND, Step
from archc.benchmarking.engines import EAGER, absent, known, version
from archc.benchmarking.job import store, stored
from archc.benchmarking.prepare import checked, job_of, outputs_of, write_file
from archc.benchmarking.process import Process
from archc.benchmarking.profilers import PROFILERS
from archc.benchmarking.results import machine
from archc.document.diagnostics import one_of
from archc.exporting.network import Network
from archc.extras import MissingExtraError

PROFILED = 10
"""Runs of one round under the profiler."""


@dataclass(frozen=True)
class Setting:
    """What a latency table is measured with. `rounds` is how often the network runs, alone and under the profiler."""

    engine: str
    precision: str = "f32"
    threads: int = 1
    batch: int = 1
    rounds: int = 10
    calibrate: tuple[str, ...] = ()

    def check(self) -> None:
        """Check that the engine can be profiled here.

        Raises:
            ValueError: there is no such engine, or it has no profiler.
            MissingExtraError: it is not installed.
        """
        if known(self.engine) not in PROFILERS:
            raise ValueError(f"the operations of {self.engine} cannot be timed one by one: {one_of(PROFILERS)}")
        for message in absent([self.engine, EAGER]).values():
            raise MissingExtraError(message)


def conditions(setting: Setting) -> Conditions:
    """What the head of a table says."""
    engine = setting.engine
    return Conditions(engine, version(engine), setting.precision, setting.threads, setting.batch, machine())


def measure(networks: Mapping[str, Network], setting: Setting, step: Step = lambda _: None) -> LatencyTable:
    """The latency of every operation of networks, by name. They are checked against eager torch first.

    Raises:
        WorkerError: a network cannot be run so, or computes something else.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="archc-bench-") as directory:
        for number, (name, network) in enumerate(networks.items()):
            home = Path(directory) / str(number)
            folded = [] if INFERENCE in network.graph.transforms else [INFERENCE]
            store(network.rewritten(folded), home)
            found.append(_measure(name, home, setting, step))
    step("")
    return LatencyTable(conditions(setting), tuple(found))


def _measure(name: str, home: Path, setting: Setting, step: Step) -> Measured:
    job = job_of(home, setting.engine, setting.precision, threads=setting.threads, batch=setting.batch)
    step(f"{name}: {setting.engine}")
    if job.file:
        write_file(job)
    with Process(replace(job, engine=EAGER, precision="f32", file="")) as eager:
        reference = outputs_of(eager, home)
    whole: list[float] = []
    times: dict[str, list[float]] = {}
    with Process(job) as plain, Process(replace(job, profile=True)) as profiled:
        checked(outputs_of(plain, home), reference, setting.precision)
        runs = plain.ask("runs", seconds=ROUND)["runs"]
        for number in range(setting.rounds):
            step(f"{name}: round {number + 1} of {setting.rounds}")
            whole += plain.ask("round", runs=runs)["times"]
            for operation, seconds in profiled.ask("profile", runs=PROFILED)["operations"].items():
                times.setdefault(operation, []).append(seconds)
    graph = stored(str(home)).graph
    seconds = {operation: median(found) for operation, found in times.items()}
    return Measured.of(name, 1e3 * median(whole), by_unit(units(graph), seconds))


def by_unit(found: Sequence[Unit], seconds: Mapping[str, float]) -> list[tuple[Unit, float]]:
    """The time of each unit, from those of operations by name; what an engine removed took no time.

    Raises:
        ValueError: a time of an operation that no unit has.
    """
    left = dict(seconds)
    times = [(unit, sum(left.pop(name, 0.0) for name in unit.members)) for unit in found]
    if left:
        raise ValueError(f"the profiler timed `{next(iter(left))}`, which is no operation of the network")
    return times
