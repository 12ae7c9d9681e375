"""A worker: `python -m archc.benchmarking.worker`. It runs one job, and nothing of another job's runs in its process.

It reads lines of JSON from standard input and answers each with one line of JSON on standard output. The first line is
the job (`archc.benchmarking.job`); each further one is a command:

    {"do": "outputs", "path": FILE}    run once and write the outputs: {}
    {"do": "runs", "seconds": S}       how many runs take about so long: {"runs": N}
    {"do": "round", "runs": N}         time so many runs: {"times": [seconds, …]}
    {"do": "profile", "runs": N}       time each operation, where the job asked for it: {"operations": {name: seconds}}

An answer `{"error": text}` says what went wrong, `{"missing": text}` which library is not installed, and
`{"impossible": text}` what this engine, or its target, is not meant to do.
What libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import IO, TYPE_CHECKING, Any

from archc.benchmarking.pinning import end_with_parent, pin

if TYPE_CHECKING:
    from archc.benchmarking.job import Job

WARM_UP = 0.02
"""Seconds of runs before each round: caches were filled by other workers meanwhile."""

REFUSALS = {"unsupported-op", "unsupported-form"}
"""The diagnostics by which a target says that it does not write a network."""

FEWEST, MOST = 3, 200
"""Runs of one round."""


class Worker:
    """A job's session on its images. `open` makes the session ready, so that no later run compiles anything."""

    def __init__(self, job: Job) -> None:
        from archc.benchmarking.engines import open_engine
        from archc.benchmarking.job import images, stored

        self.job = job
        self.images = images(stored(job.network).graph, job.batch)
        if job.profile:
            return  # the profiler opens the engine in its own way
        self.session = open_engine(job)
        self.prepared = self.session.prepare(self.images)
        self.session.execute(self.prepared)

    def answer(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a command."""
        if command["do"] == "outputs":
            import numpy as np

            outputs: dict[str, Any] = dict(self.session.results(self.session.execute(self.prepared)))
            np.savez(command["path"], **outputs)
            return {}
        if command["do"] == "runs":
            self._warm_up()
            typical = sorted(self._times(FEWEST))[FEWEST // 2]
            return {"runs": max(FEWEST, min(MOST, round(command["seconds"] / max(typical, 1e-9))))}
        if command["do"] == "profile":
            from archc.benchmarking.profilers import profile

            return {"operations": profile(self.job, self.images, command["runs"])}
        self._warm_up()
        return {"times": self._times(command["runs"])}

    def _warm_up(self) -> None:
        end = perf_counter() + WARM_UP
        self.session.execute(self.prepared)
        while perf_counter() < end:
            self.session.execute(self.prepared)

    def _times(self, runs: int) -> list[float]:
        execute, prepared = self.session.execute, self.prepared
        times = []
        for _ in range(runs):
            start = perf_counter()
            execute(prepared)
            times.append(perf_counter() - start)
        return times


def main() -> None:
    """Answer until standard input ends."""
    end_with_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # so that nothing that a library prints is taken for an answer
    first = sys.stdin.readline()
    # Thread pools are as large as the processors that a process may use, so this comes before every library.
    pin(json.loads(first)["cores"])
    try:
        worker = _opened(first)
    except Exception as error:
        _say(answers, _failure(error))
        return
    _say(answers, {})
    if worker is None:
        return
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:
            answer = _failure(error)
        _say(answers, answer)


def _opened(line: str) -> Worker | None:
    from archc.benchmarking.job import Job

    job = Job.from_json(line)
    if not job.export:
        return Worker(job)
    from archc.benchmarking.files import write

    write(job, Path(job.file))
    return None


def _failure(error: Exception) -> dict[str, str]:
    from archc.benchmarking.engines import ImpossibleError
    from archc.extras import missing
    from archc.runtimes.protocol import CannotRunError

    if isinstance(error, ImportError) and (text := missing(error)):
        return {"missing": text}
    said = " ".join(str(error).split())
    found = {diagnostic.id for diagnostic in getattr(error, "diagnostics", ())}
    if found:
        said = "; ".join(d.message + (f" ({d.help})" if d.help else "") for d in getattr(error, "diagnostics", ()))
    if isinstance(error, ImpossibleError | CannotRunError) or found & REFUSALS:
        return {"impossible": said}
    return {"error": said if found else f"{type(error).__name__}: {said}"}


def _say(answers: IO[str], answer: Mapping[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
