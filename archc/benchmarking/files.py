"""The files that a benchmark times: archc's own exports, each written in a process of its own."""

from __future__ import annotations

from pathlib import Path

from archc.backends import emitter
from archc.benchmarking.engines import check_precision, target
from archc.benchmarking.job import Job, stored
from archc.exporting.export import export


def write(job: Job, path: Path) -> None:
    """Export a job's network, for its batch and its size alone.

    Raises:
        ImpossibleError: the target has no such precision.
        SpecError: the target cannot write the network, or not in this form.
        ImportError: a library is not installed.
    """
    network, name = stored(job.network), target(job.engine)
    check_precision(job, emitter(name).precisions)
    export(
        network.graph,
        path,
        to=name,
        state=network.state,
        precision=job.precision,  # type: ignore[arg-type]
        any_size=False,
        batch=job.batch,
        check=False,
    )


def size(directory: Path) -> int:
    """The bytes of all files in a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
