"""What each operation takes on an engine, by the engine's own profiler where it has one.

To add an engine: a module with `profile(job, images, runs)`, which returns seconds by the names of the operations of
the network after `inference`, and an entry in `PROFILERS`. An operation that the engine computes as part of another
may be missing, if both belong to one unit (`archc.analysis.units`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archc.benchmarking.job import Job
    from archc.ir.state import Array

PROFILERS = {
    "eager": "archc.benchmarking.profilers.eager",
    "onnxruntime": "archc.benchmarking.profilers.onnxruntime",
    "openvino": "archc.benchmarking.profilers.openvino",
}
"""The modules that profile engines, by the engine's name."""


def profile(job: Job, images: Array, runs: int) -> dict[str, float]:
    """Seconds of each operation in one run: the median of several."""
    found: dict[str, float] = importlib.import_module(PROFILERS[job.engine]).profile(job, images, runs)
    return found
