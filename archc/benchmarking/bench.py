"""Time networks on engines side by side: outputs are checked first, and then rounds alternate between the workers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from archc.benchmarking.engines import EAGER, absent, version
from archc.benchmarking.job import store
from archc.benchmarking.plan import Plan
from archc.benchmarking.prepare import checked, job_of, outputs_of, write_file
from archc.benchmarking.process import ImpossibleJobError, MissingLibraryError, Process, WorkerError
from archc.benchmarking.results import Benchmark, Spread, Timing
from archc.exporting.network import Network

ROUND = 0.25
"""Seconds of one round of one worker."""

RANDOM_RANGES = "int8 ranges are those of random images: right for timing, not for accuracy"


@dataclass
class _Runner:
    """A worker under way, with what is known of it."""

    timing: Timing
    process: Process
    runs: int = 0
    rounds: list[list[float]] = field(default_factory=list)


Step = Callable[[str], None]
"""Called before each step with what is done next, and at the end with nothing."""


def run(networks: Mapping[str, Network], plan: Plan, step: Step = lambda _: None) -> Benchmark:
    """Time networks, by name; see `archc.bench`."""
    missing = absent([EAGER, *plan.engines])
    timings: list[Timing] = []
    with tempfile.TemporaryDirectory(prefix="archc-bench-") as directory:
        for number, (name, network) in enumerate(networks.items()):
            home = Path(directory) / str(number)
            store(network, home)
            group = _Group(name, home, plan, missing, step)
            for threads in plan.threads:
                for batch in plan.batches:
                    timings += group.time(threads, batch)
    step("")
    random = not plan.calibrate and any(t.precision == "int8" and t.status == "timed" for t in timings)
    return Benchmark(tuple(timings), missing, plan.rounds, (RANDOM_RANGES,) * random)


class _Group:
    """The timings of one network."""

    def __init__(self, name: str, home: Path, plan: Plan, missing: dict[str, str], step: Step) -> None:
        self.name = name
        self.home = home
        self.plan = plan
        self.missing = missing
        self.step = step

    def time(self, threads: int, batch: int) -> Iterator[Timing]:
        """All engines with so many threads on such a batch, in the plan's order; eager torch in f32 comes first."""
        wanted = [(engine, precision) for engine in self.plan.engines for precision in self.plan.precisions]
        pairs = [pair for pair in dict.fromkeys([(EAGER, "f32"), *wanted]) if pair[0] not in self.missing]
        runners: list[_Runner | Timing] = []
        try:
            reference: dict[str, Any] | None = None
            for engine, precision in pairs:
                timing = Timing(self.name, engine, version(engine), precision, threads, batch)
                self.step(f"{self.name}: {engine} {precision}, {threads} threads, batch {batch}")
                runner, outputs = self._start(timing, reference)
                if engine == EAGER and precision == "f32":
                    reference = outputs
                runners.append(runner)
            self._rounds([runner for runner in runners if isinstance(runner, _Runner)])
        finally:
            for runner in runners:
                if isinstance(runner, _Runner):
                    runner.process.close()
        base = next((r for r in runners if isinstance(r, _Runner) and r.timing.engine == EAGER), None)
        for runner in runners:
            if isinstance(runner, Timing):
                if runner.engine not in self.missing:
                    yield runner
            else:
                yield _timed(runner, base)

    def _start(self, timing: Timing, reference: Mapping[str, Any] | None) -> tuple[_Runner | Timing, dict[str, Any]]:
        """A worker whose outputs are right; or the timing that says why there is none."""
        process: Process | None = None
        try:
            job = job_of(
                self.home,
                timing.engine,
                timing.precision,
                threads=timing.threads,
                batch=timing.batch,
                calibrate=self.plan.calibrate,
            )
            if job.file:
                timing = replace(timing, size=write_file(job))
            process = Process(job)
            outputs = outputs_of(process, self.home)
            if reference is not None:
                worst = checked(outputs, reference, timing.precision)
                timing = replace(timing, difference=worst)
            runner = _Runner(timing, process)
            runner.runs = process.ask("runs", seconds=ROUND)["runs"]
            return runner, outputs
        except MissingLibraryError as error:
            self.missing[timing.engine] = str(error)
            failed = replace(timing, status="impossible", reason=str(error))
        except ImpossibleJobError as error:
            failed = replace(timing, status="impossible", reason=str(error))
        except WorkerError as error:
            failed = replace(timing, status="failed", reason=str(error))
        if process is not None:
            process.close()
        return failed, {}

    def _rounds(self, runners: Sequence[_Runner]) -> None:
        """Let the workers run in turn, in another order each time."""
        for number in range(self.plan.rounds):
            self.step(f"{self.name}: round {number + 1} of {self.plan.rounds}")
            first = number % max(len(runners), 1)
            for runner in (*runners[first:], *runners[:first]):
                if runner.timing.status != "timed":
                    continue
                try:
                    runner.rounds.append(runner.process.ask("round", runs=runner.runs)["times"])
                except WorkerError as error:
                    runner.timing = replace(runner.timing, status="failed", reason=str(error))


def _timed(runner: _Runner, base: _Runner | None) -> Timing:
    if runner.timing.status != "timed":
        return runner.timing
    times = [time for round in runner.rounds for time in round]
    ratio = None
    if base is not None and base.timing.status == "timed":
        pairs = zip(base.rounds, runner.rounds, strict=True)
        ratio = median(median(eager) / median(own) for eager, own in pairs)
    return replace(runner.timing, spread=Spread.of(times), runs=len(times), ratio=ratio)
