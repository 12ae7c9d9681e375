"""From a module to its graph, and from a graph to its spec."""

from __future__ import annotations

import warnings
from functools import lru_cache

from torch import nn

from archc.backends.torch import GRAPH
from archc.blocks import REGISTRY
from archc.ir.graph import Graph
from archc.spec.diagnostics import Source, SpecWarning
from archc.spec.load import Document
from archc.spec.schema import Spec
from archc.spec.yaml import read_text
from archc.weights.error import refuse

_WRAPPERS = ("_orig_mod", "module")
"""Where torch.compile and DataParallel keep the module they wrap."""


def unwrapped(model: nn.Module) -> nn.Module:
    """The compiled module itself, out of what torch may have put around it.

    Raises:
        WeightsError: the module was not built by archc.
    """
    while GRAPH not in model.__dict__:
        inner = [model._modules[name] for name in _WRAPPERS if model._modules.get(name) is not None]
        if not inner or inner[0] is None:
            raise refuse(
                "weights-network",
                f"this `{type(model).__name__}` was not built by archc",
                help="its names are not known; pass the module that `archc.build` returned",
            )
        model = inner[0]
    return model


def graph_of(model: nn.Module) -> Graph:
    """The graph that an unwrapped module was built from."""
    graph: Graph = model.__dict__[GRAPH]
    return graph


def spec_of(graph: Graph) -> Spec | None:
    """The spec that a graph was lowered from, before the passes."""
    if isinstance(graph.spec, str):
        return from_text(graph.spec)
    assert graph.spec is None or isinstance(graph.spec, Spec)
    return graph.spec


@lru_cache(maxsize=16)
def from_text(text: str) -> Spec:
    """A spec from its YAML.

    Raises:
        SpecError: it is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        return Document(read_text(Source("the resolved spec", text)), "spec", REGISTRY).spec()
