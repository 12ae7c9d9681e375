"""Measure what each operation of networks takes on one engine, for a latency table."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
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

TOGETHER = 8
"""Networks whose workers are open at the same time."""


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


def measure(
    networks: Mapping[str, Network], setting: Setting, step: Step = lambda _: None, *, together: int = TOGETHER
) -> LatencyTable:
    """The latency of every operation of networks, by name. They are checked against eager torch first.

    Each network is profiled by itself; `together` so many are then timed in alternating rounds, so that a busy moment
    of the machine falls on all of them.

    Raises:
        WorkerError: a network cannot be run so, or computes something else.
    """
    names = list(networks)
    found: list[Measured] = []
    for start in range(0, len(names), together):
        some = {name: networks[name] for name in names[start : start + together]}
        with tempfile.TemporaryDirectory(prefix="archc-bench-") as directory, ExitStack() as open_:
            found += _measure(some, Path(directory), setting, step, open_)
    step("")
    return LatencyTable(conditions(setting), tuple(found))


def _measure(
    networks: Mapping[str, Network], directory: Path, setting: Setting, step: Step, open_: ExitStack
) -> list[Measured]:
    processes: dict[str, tuple[Process, int]] = {}
    profiles: dict[str, list[tuple[Unit, float]]] = {}
    for number, (name, network) in enumerate(networks.items()):
        step(f"{name}: {setting.engine}")
        home = directory / str(number)
        folded = [] if INFERENCE in network.graph.transforms else [INFERENCE]
        store(network.rewritten(folded), home)
        job = job_of(home, setting.engine, setting.precision, threads=setting.threads, batch=setting.batch)
        if job.file:
            write_file(job)
        with Process(replace(job, engine=EAGER, precision="f32", file="")) as eager:
            reference = outputs_of(eager, home)
        process = open_.enter_context(Process(job))
        checked(outputs_of(process, home), reference, setting.precision)
        processes[name] = process, process.ask("runs", seconds=ROUND)["runs"]
        with Process(replace(job, profile=True)) as profiled:
            profiles[name] = _profile(profiled, units(stored(str(home)).graph), setting.rounds)
    times: dict[str, list[float]] = {name: [] for name in networks}
    for number in range(setting.rounds):
        step(f"round {number + 1} of {setting.rounds}")
        for name, (process, runs) in processes.items():
            times[name] += process.ask("round", runs=runs)["times"]
    return [Measured.of(name, 1e3 * median(times[name]), profiles[name]) for name in networks]


def _profile(process: Process, found: Sequence[Unit], rounds: int) -> list[tuple[Unit, float]]:
    """The seconds of every unit: the median over so many profiles."""
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for operation, seconds in process.ask("profile", runs=PROFILED)["operations"].items():
            times.setdefault(operation, []).append(seconds)
    return by_unit(found, {operation: median(seconds) for operation, seconds in times.items()})


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
