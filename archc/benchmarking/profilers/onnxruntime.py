"""ONNX Runtime by its profiler."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from archc.benchmarking.job import Job, stored
from archc.benchmarking.profilers.names import known_names, operation
from archc.extras import require

if TYPE_CHECKING:
    from archc.ir.state import Array

_FAR = 100
"""Names to look at; what ONNX Runtime adds stands close to what it belongs to."""

_SUFFIX = "_kernel_time"


def profile(job: Job, images: Array, runs: int) -> dict[str, float]:
    """Seconds of each operation; see `archc.benchmarking.profilers`.

    What ONNX Runtime fuses has the name of one of its parts. Where it reorders a value between layouts, the operation
    that computed the value is charged.

    Raises:
        ValueError: a node that names no operation.
    """
    runtime = require("onnxruntime", "onnx")
    known = known_names(stored(job.network).graph)
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
    _add_nameless(values, times)
    found: dict[str, float] = {}
    for name, seconds in times.items():
        owner = operation((name, *values.get(name, ())), known)
        found[owner] = found.get(owner, 0.0) + median(seconds[1:])  # the first run warms up
    return found


def _add_nameless(values: dict[str, Sequence[str]], times: Mapping[str, object]) -> None:
    """Give nodes without a name, which `_values` numbers by their kind, the names that the profile calls them by.

    These are the kind and a number, `HardSigmoid_158`, which grow in the order of the model.
    """
    called: dict[str, list[str]] = {}
    for name in times:
        kind, _, number = name.rpartition("_")
        if name not in values and number.isdecimal():
            called.setdefault(kind, []).append(name)
    for kind, names in called.items():
        for place, name in enumerate(sorted(names, key=lambda name: int(name.rpartition("_")[2]))):
            values[name] = values.get(f"{kind}#{place}", ())


def _values(path: str) -> dict[str, Sequence[str]]:
    """What each node of the optimised model writes and reads, and so on back through what computes that."""
    graph = require("onnx", "onnx").load(path).graph
    names: dict[str, list[str]] = {}  # by value: how its producer may be called
    found: dict[str, Sequence[str]] = {}
    nameless: dict[str, int] = {}
    for node in graph.node:
        before = [text for value in node.input for text in names.get(value, ())]
        texts = list(dict.fromkeys([*node.output, *node.input, *before]))[:_FAR]
        if node.name:
            found[node.name] = texts
        else:
            nameless[node.op_type] = nameless.get(node.op_type, -1) + 1
            found[f"{node.op_type}#{nameless[node.op_type]}"] = texts
        names.update((value, [node.name, *texts]) for value in node.output)
    return found
