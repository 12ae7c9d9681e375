"""A quantised network that takes pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from archc.ir.graph import Graph
from archc.ir.ops import Normalize
from archc.ir.quantization import Quantization
from archc.ir.state import State
from archc.quantization.ranges import known_ranges, weight_scales
from archc.transforms import apply

PREPROCESS = "preprocess"


def with_pixels(graph: Graph, state: State, quantization: Quantization) -> tuple[Graph, State, Quantization]:
    """The network after the transform `preprocess`. Normalising the pixels stays in float; its result is int8."""
    if PREPROCESS in graph.transforms:
        return graph, state, quantization
    new, weights = apply(graph, state, [PREPROCESS])
    assert weights is not None
    first = next(node for node in new.nodes if isinstance(node.op, Normalize))
    values = dict(quantization.values)
    if values.pop(graph.input.name, None) is not None:
        values[first.name] = known_ranges(new)[first.name]
    changed = [key for key in quantization.weights if not np.array_equal(weights[key], state[key])]
    again = weight_scales(new, weights)
    scales = {**quantization.weights, **{key: again[key] for key in changed}}
    return new, weights, replace(quantization, values=values, weights=scales, floats=quantization.floats | {first.name})
