"""Weights and biases made up for what int8 loses: the network runs in float and in int8 side by side on images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (torch's own name for it)
from torch import Tensor

from archc.backends.torch.interpret import Interpreter
from archc.ir.graph import Graph, Node
from archc.ir.ops import Conv, Linear, pads_same, pads_symmetric
from archc.ir.quantization import Quantization, int8_operations
from archc.ir.state import Array, State
from archc.quantization.ranges import with_room
from archc.quantization.rounding import best_scales, round_kernel, statistics
from archc.quantization.simulate import Simulation

Rounding = Literal["nearest", "grouped", "all"]
"""Which kernels are rounded by their layer's inputs: none, those of grouped convolutions (depthwise ones), or all."""
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)

SAMPLES = 8
"""How many samples of a layer's inputs are taken for each number of a group's inputs."""
_FEWEST = 2048


def correct(
    graph: Graph, state: State, quantization: Quantization, images: Array, *, rounding: Rounding = "nearest"
) -> tuple[State, Quantization]:
    """Correct the int8 layers of a network, the first ones first, so that each makes up for those before it.

    The mean of each output channel becomes what it is in float, by the bias (Nagel et al. 2019, arXiv:1906.04721,
    section 4.2). Kernels that `rounding` names are rounded as `archc.quantization.rounding` says. They are then
    multiples of their scales, so that rounding them to the nearest changes nothing. A layer without a bias, and one
    whose weights several rows use, stays as it is.

    Args:
        graph: a network after `inference`.
        state: its weights.
        quantization: its int8 values and scales.
        images: the network's input, [images, channels, height, width].
        rounding: which kernels change.

    Returns:
        The new weights, and the quantization with their scales.
    """
    exact, held = Interpreter(graph, state), Simulation(graph, state, quantization)
    changed = dict(state)
    scales = dict(quantization.weights)
    shared = {region.shares for region in graph.regions if region.shares}
    skipped = {n.name for r in graph.regions if r.shares or r.name in shared for n in r.nodes()}
    chosen = int8_operations(graph, quantization)
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    left = exact.readers()
    for node in graph.nodes:
        if not node.inputs:
            given = torch.from_numpy(images)
            pairs[node.name] = given, held.held(node, given)
        else:
            before = [pairs[name] for name in node.inputs]
            ours, theirs = [pair[0] for pair in before], [pair[1] for pair in before]
            wanted = exact.compute(node, ours)
            if node.name in chosen and isinstance(node.op, Conv | Linear) and node.name not in skipped:
                key = f"{node.name}.weight"
                grouped = isinstance(node.op, Conv) and node.op.groups > 1
                if rounding == "all" or (rounding == "grouped" and grouped):
                    found = _rounded(node.op, torch.tensor(state[key]), theirs[0])
                    if found is not None:
                        changed[key], scales[key] = found
                        held.weight(node).copy_(torch.from_numpy(changed[key]))
                if node.op.bias:
                    changed[f"{node.name}.bias"] = _corrected(held, node, wanted, theirs)
            pairs[node.name] = wanted, held.held(node, held.compute(node, theirs))
        for name in exact.released(node, left):
            del pairs[name]
    return changed, with_room(graph, changed, replace(quantization, weights=scales))


def _corrected(held: Simulation, node: Node, wanted: Tensor, inputs: Sequence[Tensor]) -> Array:
    """The bias with which the mean of each channel is what it is in float. The simulation gets it too."""
    found = held.compute(node, inputs)
    axis = 1 if wanted.ndim == 4 else wanted.ndim - 1
    others = [number for number in range(wanted.ndim) if number != axis]
    bias = held.weight(node, "bias")
    bias += (wanted.double().mean(others) - found.double().mean(others)).float()
    return bias.numpy().copy()


def _rounded(op: Conv | Linear, kernel: Tensor, held: Tensor) -> tuple[Array, tuple[float, ...]] | None:
    """A layer's kernel on the grid of its new scales; None where there are too few samples of its inputs."""
    groups = op.groups if isinstance(op, Conv) else 1
    places = _places(op, held)
    found = statistics(_inputs(op, held, places))
    if found.samples < found.variance.shape[1]:
        return None
    grouped = kernel.double().reshape(groups, kernel.shape[0] // groups, -1)
    scales = best_scales(grouped, found)
    rounded = round_kernel(grouped, scales, found)
    # The State holds 32-bit floats. Each is nearest to the same multiple of the scale.
    new: Array = rounded.reshape(kernel.shape).float().numpy()
    return new.astype(np.float32), tuple(scales.reshape(-1).tolist())


def _places(op: Conv | Linear, value: Tensor) -> Tensor:
    """Some positions of a layer's result, the same ones in every image: indices into its rows and columns."""
    if isinstance(op, Linear):
        return torch.zeros(0, 2, dtype=torch.long)
    height, width = _patches(op, value[:1, :1]).shape[2:4]
    every = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    inputs = value.shape[1] // op.groups * op.kernel[0] * op.kernel[1]
    wanted = -(-max(_FEWEST, SAMPLES * inputs) // len(value))
    chosen = torch.randperm(len(every), generator=torch.Generator().manual_seed(0))[:wanted]
    return every[chosen]


def _inputs(op: Conv | Linear, value: Tensor, places: Tensor) -> Tensor:
    """The numbers that a layer's kernel meets: [groups, samples, inputs of a group]."""
    if isinstance(op, Linear):
        flat = value.reshape(-1, value.shape[-1])
        return flat[:: max(1, len(flat) // 2**15)][None]
    found = _patches(op, value)[:, :, places[:, 0], places[:, 1]]  # [N, C, P, kh, kw]
    images, channels, positions, high, wide = found.shape
    grouped = found.reshape(images, op.groups, channels // op.groups, positions, high * wide)
    return grouped.permute(1, 0, 3, 2, 4).reshape(op.groups, images * positions, -1)


def _patches(op: Conv, value: Tensor) -> Tensor:
    """A view of the windows of a convolution: [N, C, rows, columns, kh, kw]."""
    if op.padding == "symmetric":
        high, wide = pads_symmetric(op.kernel, op.dilation)
        value = F.pad(value, [wide, wide, high, high])
    elif op.padding == "same":
        rows, columns = (
            pads_same(size, kernel, op.stride, op.dilation)
            for size, kernel in zip(value.shape[2:], op.kernel, strict=True)
        )
        value = F.pad(value, [*columns, *rows])
    reach = [op.dilation * (kernel - 1) + 1 for kernel in op.kernel]
    windows = value.unfold(2, reach[0], op.stride).unfold(3, reach[1], op.stride)
    return windows[..., :: op.dilation, :: op.dilation]
