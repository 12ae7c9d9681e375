"""Peak activation memory."""

from __future__ import annotations

import math

from archc.ir.graph import Graph

BYTES_PER_ELEMENT = 4


def peak_activation_bytes(graph: Graph) -> int:
    """The most bytes of activations alive at once: inference, one image, float32, operations in the graph's order.

    While an operation runs, its inputs and its output exist; a value is freed after its last use. Elementwise
    operations (normalisation, activation, residual sum, gate) write over their first input where nothing else needs
    it, as mobile runtimes do. Weights and workspaces of kernels are not counted.
    """
    last_use: dict[str, int] = {}
    for step, node in enumerate(graph.nodes):
        for name in node.inputs:
            last_use[name] = step
    for name in graph.outputs.values():
        last_use[name] = len(graph.nodes)

    sizes: dict[str, int] = {}
    buffer: dict[str, str] = {}  # a value to the value whose memory it lies in
    alive: dict[str, int] = {}  # a buffer to the step after which nothing reads it
    peak = 0
    for step, node in enumerate(graph.nodes):
        own = node.name
        first = node.inputs[0] if node.inputs else ""
        if node.op.fused and last_use[first] == step and alive[buffer[first]] == step:
            own = buffer[first]
        buffer[node.name] = own
        if own == node.name:
            sizes[own] = BYTES_PER_ELEMENT * math.prod(node.shape)
        alive[own] = max(alive.get(own, 0), last_use.get(node.name, step))
        peak = max(peak, sum(sizes[name] for name in alive))
        alive = {name: until for name, until in alive.items() if until > step}
    return peak
