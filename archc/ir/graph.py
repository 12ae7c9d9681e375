"""The graph that specs are lowered to: primitive operations in execution order, under readable dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from archc.ir.ops import Op, Price, Shape, price


class Node(NamedTuple):
    """One operation and its one output, which goes by the node's name."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True)
class Graph:
    """A lowered network.

    `nodes` are in execution order, the input first. `scopes` gives every dotted prefix of a name the label of what
    it stands for (a stage, a block, a group inside a block); a backend makes modules of them. `outputs` maps the
    names that the network returns to nodes; with `single`, it returns one tensor rather than a mapping. `init` is
    the spec's initialisation policy and `contract` its input contract, carried along for the backends.
    """

    name: str
    nodes: tuple[Node, ...]
    outputs: Mapping[str, str]
    single: bool
    scopes: Mapping[str, str]
    init: Any = None
    contract: Any = None

    @property
    def input(self) -> Node:
        """The network's input."""
        return self.nodes[0]

    def by_name(self) -> dict[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    def shapes(self) -> dict[str, Shape]:
        """Output shapes by node name."""
        return {node.name: node.shape for node in self.nodes}

    def priced(self) -> Iterator[tuple[Node, Price]]:
        """Every node with its cost, in execution order."""
        shapes = self.shapes()
        for node in self.nodes:
            yield node, price(node.op, node.shape, tuple(shapes[name] for name in node.inputs))


@dataclass
class Builder:
    """Builds a graph; what `lower` methods of blocks call.

    Names given to `add` and `scope` are local: the scopes that are open make them dotted.
    """

    _nodes: list[Node] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)
    _scopes: dict[str, str] = field(default_factory=dict)
    _prefix: str = ""

    @contextmanager
    def scope(self, name: str, label: str) -> Iterator[None]:
        """Group what is added inside under `name`; `label` becomes the class name of the group's module."""
        outer, path = self._prefix, self._dotted(name)
        if path in self._scopes:
            raise ValueError(f"scope `{path}` is opened twice")
        self._scopes[path] = label
        self._prefix = path
        try:
            yield
        finally:
            self._prefix = outer

    def add(self, name: str | None, op: Op, *inputs: Node) -> Node:
        """Add an operation and return it; with no name, it takes the innermost scope's own.

        Raises:
            ShapeError: the inputs do not fit.
            ValueError: the name is taken.
        """
        full = self._dotted(name) if name else self._prefix
        if full in self._taken:
            raise ValueError(f"the name `{full}` is used twice")
        node = Node(full, op, tuple(i.name for i in inputs), op.infer(*(i.shape for i in inputs)))
        self._taken.add(full)
        self._nodes.append(node)
        return node

    def _dotted(self, name: str) -> str:
        return f"{self._prefix}.{name}" if self._prefix else name

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(self._nodes)

    def last_under(self, scope: str) -> Node | None:
        """The last node in a scope, or the node of that very name."""
        inside = scope + "."
        for node in reversed(self._nodes):
            if node.name == scope or node.name.startswith(inside):
                return node
        return None

    def finish(self, name: str, outputs: Mapping[str, Node], *, single: bool, init: Any, contract: Any) -> Graph:
        """The graph of what the outputs need; everything else is pruned."""
        live = {node.name for node in outputs.values()}
        for node in reversed(self._nodes):
            if node.name in live:
                live.update(node.inputs)
        nodes = tuple(node for i, node in enumerate(self._nodes) if i == 0 or node.name in live)
        used = {prefix for node in nodes for prefix in _prefixes(node.name)}
        # A node that bears its scope's own name needs no module around it.
        own = {node.name for node in nodes}
        scopes = {path: label for path, label in self._scopes.items() if path in used and path not in own}
        taps = {key: node.name for key, node in outputs.items()}
        return Graph(name, nodes, taps, single, scopes, init, contract)


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    for end in range(1, len(parts)):
        yield ".".join(parts[:end])
