"""ONNX Runtime by its profiler."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from archc.benchmarking.job import Job, stored
from archc.benchmarking.profilers.names import operation
from archc.extras import require

if TYPE_CHECKING:
    from archc.ir.state import Array

_SUFFIX = "_kernel_time"


def profile(job: Job, images: Array, runs: int) -> dict[str, float]:
    """Seconds of each operation; see `archc.benchmarking.profilers`.

    What ONNX Runtime fuses has the name of one of its parts. Where it reorders a value between layouts, the operation
    that computed the value is charged.

    Raises:
        ValueError: a node that names no operation.
    """
    runtime = require("onnxruntime", "onnx")
    known = {node.name for node in stored(job.network).graph.nodes[1:]}
    with tempfile.TemporaryDirectory(prefix="archc-bench-") as directory:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = job.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # it warns of the file of the optimised model
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(directory) / "profile")
        options.optimized_model_filepath = str(Path(directory) / "optimised.onnx")
        session = runtime.InferenceSession(job.file, options, providers=["CPUExecutionProvider"])
        values = _values(options.optimized_model_filepath)
        feed = {session.get_inputs()[0].name: images}
        for _ in range(runs + 1):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            times.setdefault(event["name"].removesuffix(_SUFFIX), []).append(1e-6 * event["dur"])
    found: dict[str, float] = {}
    for name, seconds in times.items():
        owner = operation((name, *values.get(name, ())), known)
        found[owner] = found.get(owner, 0.0) + median(seconds[1:])  # the first run warms up
    return found


def _values(path: str) -> Mapping[str, tuple[str, ...]]:
    """What each node of the optimised model writes and reads, by the node's name."""
    model = require("onnx", "onnx").load(path)
    return {node.name: (*node.output, *node.input) for node in model.graph.node}
