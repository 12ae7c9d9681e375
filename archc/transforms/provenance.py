"""What a file of weights states about its network, so that it can be built again from the file alone.

It states the spec and the names of the transforms (`archc_spec`, `archc_transforms`). Where these do not give the very
graph that the weights belong to, or there is no spec, it states the graph instead, in its JSON form (`archc_graph`).
So a file never states another network than its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from archc import transforms
from archc.blocks import REGISTRY
from archc.blocks.lower import lower
from archc.document.diagnostics import Source, SpecError, no_python_warnings
from archc.ir.graph import SPEC, TRANSFORMS, Graph
from archc.language.load import stated as read_stated
from archc.language.registry import BlockRegistry
from archc.language.row import Row
from archc.language.schema import Spec

GRAPH = "archc_graph"
"""The key under which a file states a graph, as JSON."""


KNOWN = REGISTRY.closed()
"""The blocks that a spec inside a file may use: a file must not choose what is imported."""


def statement(graph: Graph) -> dict[str, str]:
    """The metadata that state a network.

    A detector's heads on proposals may be missing in it: some backends build only the rest of the spec's network.
    """
    names = {TRANSFORMS: ",".join(graph.transforms)} if graph.transforms else {}
    again = _again(graph)
    if graph.yaml is not None and again is not None and graph in (again, replace(again, calls=())):
        return {SPEC: graph.yaml, **names}
    return {GRAPH: json.dumps(graph.to_json(), separators=(",", ":")), **names}


def stated_spec(metadata: Mapping[str, str]) -> Spec | None:
    """The spec that a file states; None where it states none.

    Raises:
        SpecError: what it states is no spec, or one of blocks that are not registered.
    """
    return _from_text(metadata[SPEC], KNOWN, KNOWN.classes()) if SPEC in metadata else None


def stated(metadata: Mapping[str, str]) -> Graph | None:
    """The network that a file states, transforms and all; None where it states none.

    Raises:
        SpecError: its spec is none, uses blocks that are not registered, or names an unknown transform.
        ValueError: its graph is damaged.
    """
    if GRAPH in metadata:
        try:
            value = json.loads(metadata[GRAPH])
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the graph is no JSON: {error}") from None
        if not isinstance(value, dict):
            raise ValueError("the graph is no JSON object")
        return Graph.from_json(value)
    spec = stated_spec(metadata)
    if spec is None:
        return None
    names = [name for name in metadata.get(TRANSFORMS, "").split(",") if name]
    graph = lower(spec)
    return transforms.apply(graph, None, names)[0] if names else graph


def spec_of(graph: Graph) -> Spec | None:
    """The spec that a graph was lowered from, before the passes."""
    return _from_text(graph.spec, REGISTRY, REGISTRY.classes()) if isinstance(graph.spec, str) else graph.spec


def _again(graph: Graph) -> Graph | None:
    """What the graph's spec and its transforms give now; None where they give nothing."""
    try:
        spec = spec_of(graph)
        again = lower(spec) if spec is not None else None
        return again if again is None or not graph.transforms else transforms.apply(again, None, graph.transforms)[0]
    except (SpecError, ValueError):
        return None


@lru_cache(maxsize=16)
def _from_text(text: str, blocks: BlockRegistry, classes: tuple[type[Row], ...]) -> Spec:
    """The spec of a text, remembered for as long as the same classes stand behind the names of blocks."""
    with no_python_warnings():
        return read_stated(Source("the resolved spec", text), "spec", blocks=blocks)
