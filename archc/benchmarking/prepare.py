"""From a stored network to a worker whose outputs are right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from archc.benchmarking.engines import LIMITS, suffix
from archc.benchmarking.files import size
from archc.benchmarking.job import Job
from archc.benchmarking.pinning import cores
from archc.benchmarking.process import Process, WorkerError
from archc.exporting.check import difference


def job_of(
    home: Path, engine: str, precision: str, *, threads: int, batch: int, calibrate: tuple[str, ...] = ()
) -> Job:
    """The job of a network that was stored in `home`."""
    ending = suffix(engine)
    file = home / f"{engine}-{precision}-{batch}" / f"network{ending}" if ending else ""
    return Job(engine, precision, threads, batch, cores(threads), str(home), str(file), calibrate=calibrate)


def write_file(job: Job) -> int:
    """Write a job's file, unless an earlier job did; its size in bytes.

    Raises:
        WorkerError: the target cannot write it, or failed.
    """
    file = Path(job.file)
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        with Process(replace(job, export=True)):
            pass
    return size(file.parent)


def outputs_of(process: Process, home: Path) -> dict[str, Any]:
    """A worker's outputs.

    Raises:
        WorkerError: it failed.
    """
    import numpy as np

    path = home / "outputs.npz"
    process.ask("outputs", path=str(path))
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def checked(outputs: Mapping[str, Any], reference: Mapping[str, Any], precision: str) -> float:
    """The largest difference of outputs from the reference, relative to an output's largest number.

    Raises:
        WorkerError: it is larger than rounding explains.
    """
    if missing := sorted(reference.keys() - outputs.keys()):
        raise WorkerError(f"its outputs lack `{missing[0]}`")
    worst = max(difference(outputs[name], value) for name, value in reference.items())
    limit = LIMITS.get(precision, float("inf"))
    if not worst <= limit:
        raise WorkerError(f"its outputs differ from torch's by {worst:.1e}; rounding allows {limit:g}")
    return worst
