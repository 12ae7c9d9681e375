"""The verifier: what must hold of every graph. Lowering checks every graph with it, and so does every transform."""

from __future__ import annotations

from collections.abc import Mapping

from archc.ir.graph import Graph, Node, Region, Subgraph
from archc.ir.ops import Input, Shape, ShapeError, infer


class InvalidGraphError(AssertionError):
    """A graph that does not hold together: the fault of a block or a transform, not of a spec."""


def verify_subgraph(subgraph: Subgraph) -> Subgraph:
    """Check the inside of a region and return it.

    What `verify_structure` checks, and that shapes and weights are what the rules say.

    Raises:
        InvalidGraphError: naming the node.
    """
    verify_structure(subgraph)
    seen: dict[str, Node] = {node.name: node for node in (*subgraph.placeholders, *subgraph.nodes)}
    for node in subgraph.nodes:
        _verify_value(node, seen)
    return subgraph


def verify_structure(subgraph: Subgraph) -> Subgraph:
    """Check all that a `Builder` does not see to by itself and return the subgraph: it computes shapes and weights.

    Names are unique, values are defined before use, scopes are known and entered once, no name is both an operation
    and a scope, and the result exists.

    Raises:
        InvalidGraphError: naming the node.
    """
    seen = {placeholder.name for placeholder in subgraph.placeholders}
    closed: set[str] = set()
    entered: tuple[str, ...] = ()
    for node in subgraph.nodes:
        if node.name in seen:
            raise InvalidGraphError(f"two nodes are called `{node.name}`")
        if isinstance(node.op, Input):
            raise InvalidGraphError(f"`{node.name}`: a region cannot hold an input")
        for name in node.inputs:
            if name not in seen:
                raise InvalidGraphError(f"`{node.name}` uses `{name}` before it is defined")
        scopes = _enclosing(node.name)
        for path in scopes:
            if path not in subgraph.scopes:
                raise InvalidGraphError(f"`{node.name}` lies in `{path}`, which has no label")
            if path in closed:
                raise InvalidGraphError(f"`{node.name}` re-enters `{path}`, which other operations have interrupted")
        closed.update(set(entered) - set(scopes))
        entered = scopes
        seen.add(node.name)
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

    Region names are unique and lie in labelled stages that are entered once, each region's inputs exist before it and
    have the shapes it was lowered for, shared weights are those of an earlier region of the stage, and the outputs
    and levels exist.

    Raises:
        InvalidGraphError: naming the region.
    """
    regions: dict[str, Region] = {}
    values = _Values(graph.input)
    closed: set[str] = set()
    stage = ""
    for region in graph.regions:
        own = region.name
        for placeholder, name in zip(region.subgraph.placeholders, region.inputs, strict=True):
            shape = values.shape(name)
            if shape is None:
                raise InvalidGraphError(f"`{own}` uses `{name}` before it is defined")
            if shape != placeholder.shape:
                raise InvalidGraphError(f"`{own}` was lowered for {placeholder.shape}, but `{name}` is {shape}")
        if region.stage != stage:
            if region.stage not in graph.stages or region.stage in closed:
                raise InvalidGraphError(f"`{own}` lies in `{region.stage}`, which has no label or is closed already")
            closed.add(stage)
            stage = region.stage
        if own in regions or own == graph.input.name:
            raise InvalidGraphError(f"two regions are called `{own}`")
        if region.shares:
            _verify_shared(region, regions)
        regions[own] = region
        values.add(region, own)
    for what, names in (("output", graph.outputs), ("level", graph.levels)):
        for key, name in names.items():
            if values.shape(name) is None:
                raise InvalidGraphError(f"{what} `{key}` is `{name}`, which does not exist")
    for call in graph.calls:
        verify(call.graph)
    return graph


class _Values:
    """The shapes of the values that are defined so far."""

    def __init__(self, input: Node) -> None:
        self._shapes: dict[str, Shape] = {input.name: input.shape}
        self._unnamed: list[Region] = []

    def add(self, region: Region, name: str) -> None:
        result = region.subgraph.result
        self._shapes[f"{name}.{result.name}" if result.name else name] = result.shape
        self._unnamed.append(region)

    def shape(self, name: str) -> Shape | None:
        """The shape of a value; None where it is not defined. Most are a row's result, so others wait."""
        if name not in self._shapes:
            for region in self._unnamed:
                self._shapes.update({region.full(local): shape for local, shape in region.subgraph.shapes.items()})
            self._unnamed.clear()
        return self._shapes.get(name)


def _verify_shared(region: Region, before: Mapping[str, Region]) -> None:
    owner = before.get(region.shares)
    if owner is None or owner.stage != region.stage or owner.shares:
        raise InvalidGraphError(f"`{region.name}` shares the weights of `{region.shares}`, which owns none here")
    if _owned(region) != _owned(owner):
        raise InvalidGraphError(f"`{region.name}` cannot share the weights of `{region.shares}`: they differ")


def _owned(region: Region) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(node.name, weight.name, weight.shape) for node in region.subgraph.nodes for weight in node.weights]


def _verify_value(node: Node, seen: Mapping[str, Node]) -> None:
    inputs = tuple([seen[name].shape for name in node.inputs])
    try:
        shape = infer(node.op, inputs)
    except ShapeError as error:
        raise InvalidGraphError(f"`{node.name}`: {error}") from error
    if shape != node.shape:
        raise InvalidGraphError(f"`{node.name}` says {node.shape}, its rule says {shape}")
    owned = [(weight.name, weight.shape, weight.trainable) for weight in node.weights]
    if owned != [(weight.name, weight.shape, weight.trainable) for weight in node.op.weights(*inputs)]:
        raise InvalidGraphError(f"`{node.name}` owns other weights than its rule says")


def _enclosing(name: str) -> tuple[str, ...]:
    parts = name.split(".")
    return tuple(".".join(parts[:end]) for end in range(1, len(parts)))
