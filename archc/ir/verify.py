"""The verifier: what must hold of every graph, checked while lowering."""

from __future__ import annotations

from collections.abc import Mapping

from archc.ir.graph import Graph, Node, Region, Subgraph
from archc.ir.ops import Input, Shape, ShapeError, infer


class InvalidGraphError(AssertionError):
    """A graph that lowering must never produce; the fault of a block, not of a spec."""


def verify_subgraph(subgraph: Subgraph) -> Subgraph:
    """Check the inside of a region and return it.

    Names are unique, values are defined before use, shapes are what the rules say, scopes are known and entered
    once, no name is both an operation and a scope, and the result exists.

    Raises:
        InvalidGraphError: naming the node.
    """
    seen: dict[str, Node] = {placeholder.name: placeholder for placeholder in subgraph.placeholders}
    closed: set[str] = set()
    entered: tuple[str, ...] = ()
    for node in subgraph.nodes:
        if node.name in seen:
            raise InvalidGraphError(f"two nodes are called `{node.name}`")
        if isinstance(node.op, Input):
            raise InvalidGraphError(f"`{node.name}`: a region cannot hold an input")
        _verify_value(node, seen)
        scopes = _enclosing(node.name)
        for path in scopes:
            if path not in subgraph.scopes:
                raise InvalidGraphError(f"`{node.name}` lies in `{path}`, which has no label")
            if path in closed:
                raise InvalidGraphError(f"`{node.name}` re-enters `{path}`, which other operations have interrupted")
        closed.update(set(entered) - set(scopes))
        entered = scopes
        seen[node.name] = node
    inside = {path for node in subgraph.nodes for path in _enclosing(node.name)}
    if len(subgraph.nodes) > 1:
        inside.add("")
    if clash := inside & {node.name for node in subgraph.nodes}:
        raise InvalidGraphError(f"`{min(clash)}` is both an operation and a scope")
    if subgraph.result.name not in seen:
        raise InvalidGraphError(f"the result `{subgraph.result.name}` does not exist")
    return subgraph


def verify(graph: Graph) -> Graph:
    """Check how a graph's regions are joined and return it; their insides are `verify_subgraph`'s.

    Region names are unique and lie in labelled groups that are entered once, each region's inputs exist before it and
    have the shapes it was lowered for, and the outputs exist.

    Raises:
        InvalidGraphError: naming the region.
    """
    regions: dict[str, Region] = {}
    closed: set[str] = set()
    group = ""
    for region in graph.regions:
        for placeholder, name in zip(region.subgraph.placeholders, region.inputs, strict=True):
            shape = _shape(name, graph, regions)
            if shape is None:
                raise InvalidGraphError(f"`{region.name}` uses `{name}` before it is defined")
            if shape != placeholder.shape:
                raise InvalidGraphError(f"`{region.name}` was lowered for {placeholder.shape}, but `{name}` is {shape}")
        parent = region.name.rpartition(".")[0]
        if parent not in graph.groups or parent in closed:
            raise InvalidGraphError(f"`{region.name}` lies in `{parent}`, which has no label or is closed already")
        if parent != group:
            closed.add(group)
            group = parent
        if region.name in regions or region.name == graph.input.name:
            raise InvalidGraphError(f"two regions are called `{region.name}`")
        regions[region.name] = region
    for key, name in graph.outputs.items():
        if _shape(name, graph, regions) is None:
            raise InvalidGraphError(f"output `{key}` is `{name}`, which does not exist")
    return graph


def _shape(name: str, graph: Graph, regions: Mapping[str, Region]) -> Shape | None:
    """The shape of a value under its full name: a group, a region in it, then the name inside."""
    if name == graph.input.name:
        return graph.input.shape
    group, _, rest = name.partition(".")
    index, _, local = rest.partition(".")
    region = regions.get(f"{group}.{index}")
    return region.subgraph.shapes.get(local) if region else None


def _verify_value(node: Node, seen: dict[str, Node]) -> None:
    for name in node.inputs:
        if name not in seen:
            raise InvalidGraphError(f"`{node.name}` uses `{name}` before it is defined")
    try:
        shape = infer(node.op, tuple([seen[name].shape for name in node.inputs]))
    except ShapeError as error:
        raise InvalidGraphError(f"`{node.name}`: {error}") from error
    if shape != node.shape:
        raise InvalidGraphError(f"`{node.name}` says {node.shape}, its rule says {shape}")


def _enclosing(name: str) -> tuple[str, ...]:
    parts = name.split(".")
    return tuple(".".join(parts[:end]) for end in range(1, len(parts)))
