"""What a file's session returns beside what torch computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from archc.backends.torch import BACKEND
from archc.ir import Graph
from archc.ir.state import Array, State

CLOSE = 1e-5
"""The largest difference in float32, as a share of the output's largest number."""


def in_torch(graph: Graph, state: State, images: Array) -> dict[str, Array]:
    """What the network returns, by name."""
    with torch.inference_mode():
        found = BACKEND.build(graph, state=state).eval()(torch.from_numpy(images))
    named = {next(iter(graph.outputs)): found} if graph.single else found
    return {name: value.numpy() for name, value in named.items()}


def worst(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> float:
    """The largest difference of any output, relative to the output's largest number."""
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name].shape == value.shape
        assert found[name].dtype == np.float32
        assert np.isfinite(value).all()
    return max(float(np.abs(found[name] - value).max() / np.abs(value).max()) for name, value in wanted.items())
