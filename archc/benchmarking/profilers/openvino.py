"""OpenVINO by its counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from archc.benchmarking.job import Job, stored
from archc.benchmarking.profilers.names import known_names, operation
from archc.extras import require

if TYPE_CHECKING:
    from archc.ir.state import Array

_FAR = 50
"""Names to look at; a split operation's last node is close."""


def profile(job: Job, images: Array, runs: int) -> dict[str, float]:
    """Seconds of each operation; see `archc.benchmarking.profilers`.

    What OpenVINO fuses has the name of its first part. Where it reorders a value between layouts, the operation that
    computed the value is charged, or the one that reads it where that is the network's input.

    Raises:
        ValueError: a node that names no operation.
    """
    openvino = require("openvino", "openvino")
    known = known_names(stored(job.network).graph)
    hint = {"f32": "f32", "f16": "f32", "bf16": "bf16", "int8": "f32"}[job.precision]
    settings = {
        "PERF_COUNT": True,
        "INFERENCE_NUM_THREADS": job.threads,
        "INFERENCE_PRECISION_HINT": hint,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(job.file, "CPU", settings)
    parts = _parts(compiled.get_runtime_model().get_ordered_ops())
    request = compiled.create_infer_request()
    times: dict[str, list[float]] = {}
    for number in range(runs + 1):
        request.infer({0: images})
        for info in request.get_profiling_info():
            if number and info.real_time:  # the first run warms up
                times.setdefault(info.node_name, []).append(info.real_time.total_seconds())
    found: dict[str, float] = {}
    for name, seconds in times.items():
        owner = operation((name, *parts.get(name, ())), known)
        found[owner] = found.get(owner, 0.0) + median(seconds)
    return found


def _parts(ops: Sequence[Any]) -> Mapping[str, Sequence[str]]:
    """How each node of the compiled model may be called: what it stands for, and then what reads it, and so on.

    An operation that OpenVINO splits leaves its name to the last of its nodes.
    """
    found: dict[str, Sequence[str]] = {}
    for op in reversed(ops):
        info = op.get_rt_info()
        named = str(info["originalLayersNames"].astype(str)).split(",") if "originalLayersNames" in info else []
        readers = [target.get_node().friendly_name for output in op.outputs() for target in output.get_target_inputs()]
        later = [text for reader in readers for text in (reader, *found.get(reader, ()))]
        found[op.friendly_name] = list(dict.fromkeys([*named, *later]))[:_FAR]
    return found
