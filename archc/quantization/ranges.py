"""Ranges of int8 values from what they looked like on images."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from archc.ir.graph import Graph
from archc.ir.ops import Activation, Input, Normalize
from archc.ir.quantization import HIGHEST, LOWEST, Quantization, Range
from archc.ir.state import Array, State
from archc.language.settings import Input as Preprocessing
from archc.quantization.observe import BINS, Observed
from archc.quantization.values import BOUNDED, range_groups

Method = Literal["minmax", "percentile", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)

PERCENTILE = 99.99
"""The numbers in percent that `percentile` keeps inside the range; the rest are cut on either side."""
_LARGEST = 2.0**30
"""The largest bias in steps; half of what 32 bits hold, so that sums have room too."""
_SMALLEST = 2.0**-20
"""The smallest scale of a kernel's channel, as a share of the largest one: runtimes multiply by the ratio of scales."""
_CUTS = np.linspace(0.3, 1.0, 36)


def ranges(graph: Graph, observed: Mapping[str, Observed], method: Method) -> dict[str, Range]:
    """The ranges of the observed values.

    `minmax` covers all numbers that were seen, `percentile` all but the most extreme ones, and `mse` is the range with
    the least mean squared error of rounding and cutting. What is known without images is not estimated: the bounds of
    the input and of some activations. The network's results are never cut: among scores of classes, the few most
    extreme numbers are the predictions.
    """
    found: dict[str, Range] = {}
    known = known_ranges(graph)
    results = set(graph.outputs.values())
    for names in range_groups(graph, observed):
        stated = [known[name] for name in names if name in known]
        if stated and len(names) == len(stated):
            chosen = Range(min(r.low for r in stated), max(r.high for r in stated))
        else:
            rule = _minmax if results & set(names) else _RULES[method]
            chosen = rule(_joined([observed[name] for name in names]))
        found.update(dict.fromkeys(names, chosen))
    return {name: found[name] for name in observed}


def weight_scales(graph: Graph, state: State) -> dict[str, tuple[float, ...]]:
    """The scale of every output channel of every kernel, so that its largest number is the largest integer."""
    scales: dict[str, tuple[float, ...]] = {}
    for node, _ in graph.weighted():
        key = f"{node.name}.weight"
        if node.op.kind in ("conv", "linear"):
            largest = np.abs(state[key].reshape(len(state[key]), -1)).max(axis=1).astype(np.float64)
            scales[key] = tuple(np.where(largest > 0, largest / HIGHEST, 1.0).tolist())
    return scales


def quantization_of(
    graph: Graph, state: State, observed: Mapping[str, Observed], floats: Collection[str], method: Method
) -> Quantization:
    """Ranges and scales together."""
    found = Quantization(ranges(graph, observed, method), weight_scales(graph, state), frozenset(floats))
    return with_room(graph, state, found)


def with_room(graph: Graph, state: State, quantization: Quantization) -> Quantization:
    """The same with the scales of kernels so large that all biases fit into 32 bits.

    The kernel of a channel that a network does not use may be all but zero beside its bias. Such a kernel becomes zero.
    """
    scales = dict(quantization.weights)
    for region in graph.regions:
        for node, local in zip(region.nodes(), region.subgraph.nodes, strict=True):
            owner = region.owner(local.name)
            if f"{owner}.weight" not in scales or node.inputs[0] not in quantization.values:
                continue
            found = np.asarray(scales[f"{owner}.weight"])
            fewest = np.full(len(found), found.max() * _SMALLEST)
            if f"{owner}.bias" in state:
                step = quantization.values[node.inputs[0]].scale.scale
                fewest = np.maximum(fewest, np.abs(state[f"{owner}.bias"].astype(np.float64)) / (step * _LARGEST))
            if (found < fewest).any():
                scales[f"{owner}.weight"] = tuple(np.maximum(found, fewest).tolist())
    return replace(quantization, weights=scales)


def known_ranges(graph: Graph) -> dict[str, Range]:
    """Ranges that follow from the network alone."""
    found: dict[str, Range] = {}
    pixels = _range_of_pixels(graph.preprocessing)
    for node in graph.nodes:
        if isinstance(node.op, Activation) and node.op.function in BOUNDED:
            found[node.name] = BOUNDED[node.op.function]
        elif isinstance(node.op, Normalize):
            ends = [(x - m) * s for m, s in zip(node.op.mean, node.op.scale, strict=True) for x in (0.0, 255.0)]
            found[node.name] = Range(min(ends), max(ends))
    if pixels is not None and graph.input.op == Input():
        found[graph.input.name] = pixels
    return found


def _range_of_pixels(given: Preprocessing | None) -> Range | None:
    """The numbers that the pixels 0 and 255 become. By this range every pixel is held almost exactly."""
    if given is None:
        return None
    mean, std = (np.ravel(np.asarray(value, dtype=np.float64)) for value in (given.mean, given.std))
    return Range(float(((0 - mean) / std).min()), float(((1 - mean) / std).max()))


def _joined(seen: list[Observed]) -> Observed:
    """Several values as one."""
    if len(seen) == 1:
        return seen[0]
    low, high = min(s.low for s in seen), max(s.high for s in seen)
    centres = np.concatenate([s.centres for s in seen])
    counts = np.concatenate([s.counts for s in seen])
    counts = np.histogram(centres, BINS, (low, high), weights=counts)[0]
    return Observed(low, high, counts, np.array([max(-low, high)]))


def _minmax(seen: Observed) -> Range:
    return Range(seen.low, seen.high)


def _percentile(seen: Observed) -> Range:
    share = np.cumsum(seen.counts) / seen.counts.sum()
    rest = (1 - PERCENTILE / 100) / 2
    low = seen.centres[int(np.searchsorted(share, rest))] if seen.low < 0 else seen.low
    high = seen.centres[min(int(np.searchsorted(share, 1 - rest)), len(share) - 1)]
    return Range(float(low), float(high))


def _mse(seen: Observed) -> Range:
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    if low == high:
        return Range(low, high)
    kept = seen.counts > 0
    centres, counts = seen.centres[kept], seen.counts[kept]
    lows = low * _CUTS if low < 0 else np.zeros(1)
    highs = high * _CUTS if high > 0 else np.zeros(1)
    best, chosen = np.inf, (low, high)
    for bottom in lows:
        error = _errors(centres, counts, bottom, highs)
        place = int(error.argmin())
        if error[place] < best:
            best, chosen = float(error[place]), (float(bottom), float(highs[place]))
    return Range(*chosen)


def _errors(centres: Array, counts: Array, low: float, highs: Array) -> Array:
    """The squared error of holding numbers in ranges from `low` to each of `highs`: of rounding and of cutting."""
    tops = highs[:, None]
    steps = (tops - low) / (HIGHEST - LOWEST)
    cut = np.clip(centres[None], low, tops) - centres[None]
    inside = cut == 0
    errors: Array = (counts * np.where(inside, steps**2 / 12, (np.abs(cut) + steps / 4) ** 2)).sum(axis=1)
    return errors


_RULES = {"minmax": _minmax, "percentile": _percentile, "mse": _mse}
