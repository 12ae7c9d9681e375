"""Eager torch by hooks: every layer is timed, and what lies between two layers are sums, products and the like."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from archc.analysis.latency import INFERENCE
from archc.backends import builder
from archc.benchmarking.job import Job, stored
from archc.extras import require
from archc.ir.graph import Graph

if TYPE_CHECKING:
    from archc.ir.state import Array

Call = tuple[str, float, float]
"""A layer's name, and when it began and ended."""


def profile(job: Job, images: Array, runs: int) -> dict[str, float]:
    """Seconds of each operation of the network after `inference`; see `archc.benchmarking.profilers`.

    Raises:
        RuntimeError: the layers do not run in the order of the graph.
    """
    torch = require("torch", "torch")
    torch.set_num_threads(job.threads)
    network = stored(job.network)
    if INFERENCE not in network.graph.transforms:
        network = network.rewritten([INFERENCE])
    graph = network.graph
    model = builder("torch").build(graph, state=network.state).eval()
    layers = dict(model.named_modules())
    wanted = [(name, owner) for name, owner in graph.owners.items() if owner in layers]
    calls: list[Call] = []
    began: dict[str, float] = {}

    def before(name: str) -> Any:
        return lambda *_: began.__setitem__(name, perf_counter())

    def after(name: str) -> Any:
        return lambda *_: calls.append((name, began[name], perf_counter()))

    for owner in {owner for _, owner in wanted}:
        layers[owner].register_forward_pre_hook(before(owner))
        layers[owner].register_forward_hook(after(owner))
    tensor = torch.from_numpy(images)
    times: dict[str, list[float]] = {}
    with torch.inference_mode():
        for number in range(runs + 1):
            calls.clear()
            start = perf_counter()
            model(tensor)
            end = perf_counter()
            if [name for name, _, _ in calls] != [owner for _, owner in wanted]:
                raise RuntimeError("torch did not run the layers in the order of the graph")
            if number:  # the first run warms up
                for name, seconds in _attributed(graph, [name for name, _ in wanted], calls, start, end).items():
                    times.setdefault(name, []).append(seconds)
    return {name: median(seconds) for name, seconds in times.items()}


def _attributed(
    graph: Graph, names: Sequence[str], calls: Sequence[Call], start: float, end: float
) -> dict[str, float]:
    """Seconds by operation. Those without a layer share the time between the layers that they lie between."""
    own = {name: (began, ended) for name, (_, began, ended) in zip(names, calls, strict=True)}
    found = {name: ended - began for name, (began, ended) in own.items()}
    waiting: list[str] = []
    last = start
    for node in graph.nodes[1:]:
        if node.name not in own:
            waiting.append(node.name)
            continue
        began, ended = own[node.name]
        found.update({name: (began - last) / len(waiting) for name in waiting})
        waiting, last = [], ended
    found.update({name: (end - last) / len(waiting) for name in waiting})
    return found
