"""The graph that specs are lowered to: primitive operations in execution order, under readable dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from archc.ir.ops import Op, Price, Shape, infer, price


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


@dataclass(frozen=True)
class Fragment:
    """A piece of a graph under local names, made once and inserted many times. `stubs` stand for its inputs."""

    stubs: tuple[str, ...]
    nodes: tuple[Node, ...]
    scopes: Mapping[str, str]
    result: str


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
        shape = infer(op, tuple([i.shape for i in inputs]))
        return self._append(Node(full, op, tuple([i.name for i in inputs]), shape))

    def insert(self, fragment: Fragment, name: str, label: str, inputs: Sequence[Node]) -> Node:
        """Add a fragment as a scope of this name, reading these inputs; the same as adding its operations anew.

        Raises:
            ValueError: the name is taken.
        """
        with self.scope(name, label):
            prefix = self._prefix
            for path, scope_label in fragment.scopes.items():
                self._scopes[f"{prefix}.{path}"] = scope_label
            renamed = {stub: node.name for stub, node in zip(fragment.stubs, inputs, strict=True)}
            added = dict(zip(fragment.stubs, inputs, strict=True))
            for local, op, sources, shape in fragment.nodes:
                full = f"{prefix}.{local}" if local else prefix
                renamed[local] = full
                added[local] = self._append(Node(full, op, tuple([renamed[s] for s in sources]), shape))
            return added[fragment.result]

    def _append(self, node: Node) -> Node:
        if node.name in self._taken:
            raise ValueError(f"the name `{node.name}` is used twice")
        self._taken.add(node.name)
        self._nodes.append(node)
        return node

    def _dotted(self, name: str) -> str:
        return f"{self._prefix}.{name}" if self._prefix else name

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What has been added so far."""
        return tuple(self._nodes)

    def fragment(self, stubs: Sequence[Node], result: Node) -> Fragment:
        """What has been added after the stubs, as a piece to `insert` into other graphs."""
        return Fragment(tuple([stub.name for stub in stubs]), tuple(self._nodes), dict(self._scopes), result.name)

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
        used: set[str] = set()
        for node in nodes:
            path = node.name.rpartition(".")[0]
            while path and path not in used:
                used.add(path)
                path = path.rpartition(".")[0]
        # A node that bears its scope's own name needs no module around it: no node lies under that scope.
        scopes = {path: label for path, label in self._scopes.items() if path in used}
        taps = {key: node.name for key, node in outputs.items()}
        return Graph(name, nodes, taps, single, scopes, init, contract)

