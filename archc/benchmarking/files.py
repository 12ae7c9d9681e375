"""The files that a benchmark times: archc's own exports, each written in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from archc.backends import emitter
from archc.benchmarking.engines import check_precision, check_system, target
from archc.benchmarking.job import Job, images, stored
from archc.exporting.export import export
from archc.exporting.network import Network
from archc.ir.quantization import Quantization

RANDOM = 4
"""Random images for the ranges of int8, where no others are named."""


def write(job: Job, path: Path) -> None:
    """Export a job's network, for its batch and its size alone.

    Raises:
        ImpossibleError: the target has no such precision.
        SpecError: the target cannot write the network, or not in this form.
        ImportError: a library is not installed.
    """
    network, name = stored(job.network), target(job.engine)
    check_system(job.engine)
    check_precision(job, emitter(name).precisions)
    quantization = None
    if job.precision == "int8":
        network, quantization = _quantized(network, job.calibrate)
    export(
        network.graph,
        path,
        to=name,
        state=network.state,
        precision="f32" if job.precision == "bf16" else job.precision,  # type: ignore[arg-type]
        quantization=quantization,
        any_size=False,
        batch=job.batch,
        check=False,
    )


def _quantized(network: Network, calibrate: Sequence[str]) -> tuple[Network, Quantization]:
    """A network with the ranges that images give it, or random numbers where there are none."""
    from archc.prediction.inputs import prepared
    from archc.quantization import calibrate as library

    ready = library.ready(network)
    if calibrate:
        found = library.calibrate(ready, prepared(ready.graph, list(calibrate)))
    else:
        found = library.calibrate(ready, images(ready.graph, RANDOM), method="minmax", corrects=False)
    return Network(found.graph, found.state), found.quantization


def size(directory: Path) -> int:
    """The bytes of all files in a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
