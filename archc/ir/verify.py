"""The verifier: what must hold of every graph, checked after lowering."""

from __future__ import annotations

from collections.abc import Mapping

from archc.ir.graph import Graph, Node
from archc.ir.ops import Input, ShapeError, infer


class InvalidGraphError(AssertionError):
    """A graph that lowering must never produce; the fault of a block, not of a spec."""


def verify(graph: Graph) -> Graph:
    """Check a graph and return it.

    Names are unique, values are defined before use, shapes are what the rules say, scopes are known and entered
    once, no name is both an operation and a scope, and the outputs exist.

    Raises:
        InvalidGraphError: naming the node.
    """
    seen: dict[str, Node] = {}
    closed: set[str] = set()
    scopes: tuple[str, ...] = ()
    scope = ""
    for number, node in enumerate(graph.nodes):
        if node.name in seen:
            raise InvalidGraphError(f"two nodes are called `{node.name}`")
        if isinstance(node.op, Input) != (number == 0):
            raise InvalidGraphError(f"`{node.name}`: exactly the first node is the input")
        _verify_value(node, seen)
        parent = node.name.rpartition(".")[0]
        if parent != scope:
            entered = _enclosing(node.name)
            for path in entered:
                if path not in graph.scopes:
                    raise InvalidGraphError(f"`{node.name}` lies in `{path}`, which has no label")
                if path in closed:
                    raise InvalidGraphError(f"`{node.name}` re-enters `{path}`, which other operations have interrupted")
            closed.update(set(scopes) - set(entered))
            scopes, scope = entered, parent
        seen[node.name] = node
    if clash := seen.keys() & graph.scopes.keys():
        raise InvalidGraphError(f"`{min(clash)}` is both an operation and a scope")
    for key, name in graph.outputs.items():
        if name not in seen:
            raise InvalidGraphError(f"output `{key}` is `{name}`, which does not exist")
    return graph


def _verify_value(node: Node, seen: Mapping[str, Node]) -> None:
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
