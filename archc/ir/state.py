"""The State: a network's weights by canonical name, as NumPy arrays in the IR's layouts.

It is the one hub for weights: checkpoints are read into a State and written from one, transforms rewrite a State with
its graph, and every backend reads and writes one. The keys and shapes are those of `Graph.tensors`.

torch counts the batches that a batch normalisation has seen. A State may hold such counters under `COUNTER`; nothing
depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archc.ir.graph import Graph

if TYPE_CHECKING:
    from numpy import ndarray

    Array = ndarray[Any, Any]

    State = Mapping[str, Array]
else:
    Array = Any
    State = Mapping

COUNTER = "num_batches_tracked"
"""The last part of a counter's key: int64, no dimensions."""


def problems(state: State, graph: Graph) -> list[str]:
    """What does not fit a graph, one short fact per weight; empty where everything does."""
    wanted = {key: weight.shape for key, weight in graph.tensors()}
    found: list[str] = []
    for key, shape in wanted.items():
        if key not in state:
            found.append(f"`{key}` is missing")
        elif tuple(state[key].shape) != shape:
            found.append(f"`{key}` is {list(state[key].shape)}, not {list(shape)}")
    found += [f"`{key}` is no weight of `{graph.name}`" for key in state if key not in wanted and not is_counter(key)]
    return found


def is_counter(key: str) -> bool:
    """Whether a key names a counter of batches."""
    return key.rpartition(".")[2] == COUNTER
