"""A module's tensors as arrays in the IR's canonical layouts, which are torch's own."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from archc.backends.torch.parts import paths
from archc.ir.graph import Graph
from archc.ir.ops import Weight

Array = Any


def held(graph: Graph) -> Iterator[tuple[str, Weight, str]]:
    """Every weight of the graph in order, with its name in the state dict."""
    names = paths(graph)
    for key, weight in graph.tensors():
        yield key, weight, names[key]


def fitting(module: nn.Module, graph: Graph) -> set[str]:
    """The weights that the module has, in their shapes."""
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    return {key for key, weight, name in held(graph) if shapes.get(name) == weight.shape}


def read(module: nn.Module, graph: Graph, keys: Container[str]) -> dict[str, Array]:
    """These weights as NumPy arrays.

    Raises:
        NotImplementedError: the module is on the meta device, where there are no numbers.
    """
    state = module.state_dict()
    values: dict[str, Array] = {}
    for key, _, name in held(graph):
        if key in keys:
            value = state[name].detach().cpu()
            values[key] = (value.float() if value.dtype == torch.bfloat16 else value).numpy()  # NumPy lacks bfloat16
    return values


def write(module: nn.Module, graph: Graph, values: Mapping[str, Array]) -> None:
    """Set the weights that are given; on the meta device they come into being, with zeros for what counts batches."""
    state = module.state_dict()
    meta = any(value.is_meta for value in state.values())
    for key, _, name in held(graph):
        if key in values:
            # Rows in order: a transposed array's strides would choose another algorithm.
            state[name] = torch.tensor(values[key], dtype=state[name].dtype).contiguous()
    for name in skipped(module, graph)[0]:
        if state[name].is_meta:
            state[name] = torch.zeros((), dtype=state[name].dtype)
    module.load_state_dict(state, strict=True, assign=meta)


def skipped(module: nn.Module, graph: Graph) -> tuple[list[str], list[str]]:
    """The tensors that are no weight of the graph: torch's counters of batches, and what was added since."""
    ours = {name for *_, name in held(graph)}
    rest = [name for name in module.state_dict() if name not in ours]
    counters = [name for name in rest if name.endswith(".num_batches_tracked")]
    return counters, [name for name in rest if name not in counters]
