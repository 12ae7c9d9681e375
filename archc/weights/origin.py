"""From a module to its graph, and from a graph to its spec."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from torch import nn

from archc.blocks import REGISTRY
from archc.document.diagnostics import Source, SpecWarning
from archc.ir.graph import GRAPH, SPEC, Graph
from archc.language.load import stated
from archc.language.registry import BlockRegistry
from archc.language.schema import Spec
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


def graph_of(model: Any) -> Graph:
    """The graph that an unwrapped module, or another backend's network, was built from.

    Raises:
        WeightsError: it was not built by archc.
    """
    graph: Graph | None = vars(model).get(GRAPH)
    if graph is None:
        raise refuse(
            "weights-network",
            f"this `{type(model).__name__}` does not know its spec",
            help="pass what `archc.build` returned; what Keras loads from a file has forgotten it: "
            "build it anew and `archc.copy_weights`",
        )
    return graph


def spec_of(graph: Graph) -> Spec | None:
    """The spec that a graph was lowered from, before the passes."""
    if isinstance(graph.spec, str):
        return _from_text(graph.spec, REGISTRY)
    assert graph.spec is None or isinstance(graph.spec, Spec)
    return graph.spec


def stated_in(metadata: Mapping[str, str]) -> Spec | None:
    """The spec that a file of archc's states, if it states one.

    Raises:
        SpecError: what it states is none, or one of blocks that are not registered.
    """
    return _from_text(metadata[SPEC], KNOWN) if SPEC in metadata else None


KNOWN = REGISTRY.closed()
"""The blocks that a checkpoint's own spec may use: it must not choose what is imported."""


@lru_cache(maxsize=16)
def _from_text(text: str, blocks: BlockRegistry) -> Spec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        return stated(Source("the resolved spec", text), "spec", blocks=blocks)
