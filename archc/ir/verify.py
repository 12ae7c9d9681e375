"""The verifier: what must hold of every graph, checked after lowering."""

from __future__ import annotations

from archc.ir.graph import Graph, Node
from archc.ir.ops import Input, ShapeError


class InvalidGraph(AssertionError):
    """A graph that lowering must never produce; the fault of a block, not of a spec."""


def verify(graph: Graph) -> Graph:
    """Check a graph and return it.

    Names are unique, values are defined before use, shapes are what the rules say, scopes are known and entered
    once, no name is both an operation and a scope, and the outputs exist.

    Raises:
        InvalidGraph: naming the node.
    """
    seen: dict[str, Node] = {}
    closed: set[str] = set()
    current: tuple[str, ...] = ()
    for number, node in enumerate(graph.nodes):
        if node.name in seen:
            raise InvalidGraph(f"two nodes are called `{node.name}`")
        if isinstance(node.op, Input) != (number == 0):
            raise InvalidGraph(f"`{node.name}`: exactly the first node is the input")
        for name in node.inputs:
            if name not in seen:
                raise InvalidGraph(f"`{node.name}` uses `{name}` before it is defined")
        try:
            shape = node.op.infer(*(seen[name].shape for name in node.inputs))
        except ShapeError as error:
            raise InvalidGraph(f"`{node.name}`: {error}") from error
        if shape != node.shape:
            raise InvalidGraph(f"`{node.name}` says {node.shape}, its rule says {shape}")
        scopes = _enclosing(node.name)
        for scope in scopes:
            if scope not in graph.scopes:
                raise InvalidGraph(f"`{node.name}` lies in `{scope}`, which has no label")
            if scope in closed:
                raise InvalidGraph(f"`{node.name}` re-enters `{scope}`, which other operations have interrupted")
        closed.update(set(current) - set(scopes))
        current = scopes
        seen[node.name] = node
    if clash := seen.keys() & graph.scopes.keys():
        raise InvalidGraph(f"`{min(clash)}` is both an operation and a scope")
    for key, name in graph.outputs.items():
        if name not in seen:
            raise InvalidGraph(f"output `{key}` is `{name}`, which does not exist")
    return graph


def _enclosing(name: str) -> tuple[str, ...]:
    parts = name.split(".")
    return tuple(".".join(parts[:end]) for end in range(1, len(parts)))
