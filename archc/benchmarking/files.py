"""The files that a benchmark times: archc's own exports, each written in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archc.backends import emitter
from archc.benchmarking.engines import check_precision, check_system, target
from archc.benchmarking.job import Job, stored
from archc.document.diagnostics import no_python_warnings
from archc.exporting.export import export
from archc.exporting.network import Network
from archc.ir.ops import Image

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
    if job.precision == "int8":
        _quantize(network, job, path)
        return
    export(
        network.graph,
        path,
        to=name,
        state=network.state,
        precision="f16" if job.precision == "f16" else "f32",
        any_size=False,
        batch=job.batch,
        check=False,
    )


def _quantize(network: Network, job: Job, path: Path) -> None:
    """Write the file in int8; the ranges are those of the job's images, or of random ones."""
    import numpy as np

    from archc.quantization.quantize import quantize

    shape = network.graph.input.shape
    assert isinstance(shape, Image)
    pixels = np.random.default_rng(0).integers(0, 256, (RANDOM, shape.height, shape.width, 3), np.uint8)
    images: list[Any] = list(job.calibrate) or list(pixels)
    with no_python_warnings():  # initial weights predict nothing, and so another class is no news
        quantize(
            network.graph,
            images,
            to=target(job.engine),
            path=path,
            state=network.state,
            method="minmax",
            any_size=False,
            batch=job.batch,
        )


def size(directory: Path) -> int:
    """The bytes of all files in a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
