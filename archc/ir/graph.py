"""The graph that specs are lowered to: primitive operations in execution order, under readable dotted names.

A graph is made of regions, one per row of the spec. What a region contains, its subgraph, is lowered, verified and
priced once for all graphs in which the same row meets the same input; the nodes under their full names are spelled
out when something asks for them. So a sweep prices thousands of variants without lowering the same row twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

from archc.document.diagnostics import Diagnostic
from archc.ir.ops import Cost, Input, Op, Shape, Weight, cost, infer
from archc.language.dump import to_yaml

GRAPH = "archc_graph"
"""The attribute of a compiled network that keeps its graph: what its weights are called elsewhere follows from it."""

SPEC = "archc_spec"
"""The key under which a file of a network's weights states the spec, as YAML."""


class Node(NamedTuple):
    """One operation and its one output, which goes by the node's name."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True)
class Subgraph:
    """A piece of a graph under local names. `placeholders` stand for its inputs; `scopes` label the dotted prefixes."""

    placeholders: tuple[Node, ...]
    nodes: tuple[Node, ...]
    scopes: Mapping[str, str]
    result: Node

    def priced(self) -> Iterator[tuple[Node, Cost]]:
        """Every node with its cost, in execution order."""
        shapes = {node.name: node.shape for node in (*self.placeholders, *self.nodes)}
        for node in self.nodes:
            yield node, cost(node.op, node.shape, tuple([shapes[name] for name in node.inputs]))

    @cached_property
    def total(self) -> Cost:
        """The cost of the whole subgraph."""
        return Cost.total(cost for _, cost in self.priced())

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Output shapes by local name."""
        return {node.name: node.shape for node in self.nodes}

    def last_under(self, scope: str) -> Node | None:
        """The last node in a scope, or the node of that very name."""
        inside = scope + "."
        for node in reversed(self.nodes):
            if node.name == scope or node.name.startswith(inside):
                return node
        return None

    def pruned(self, wanted: Sequence[Node]) -> Subgraph:
        """Only what these nodes need."""
        live = {node.name for node in wanted}
        for node in reversed(self.nodes):
            if node.name in live:
                live.update(node.inputs)
        nodes = tuple([node for node in self.nodes if node.name in live])
        return Subgraph(self.placeholders, nodes, self.scopes, self.result)


class Region(NamedTuple):
    """A subgraph under its full name, reading these values. `label` becomes the class name of its module.

    `init` is the initialisation policy of its weights, carried along for the backends; `is_head` says that the row is
    a task's own head, and no part of the backbone.
    """

    name: str
    label: str
    subgraph: Subgraph
    inputs: tuple[str, ...]
    init: Any = None
    is_head: bool = False

    def full(self, local: str) -> str:
        """A local name of the subgraph, in the graph."""
        return f"{self.name}.{local}" if local else self.name

    def nodes(self) -> Iterator[Node]:
        """The subgraph's operations under their full names."""
        names = {
            placeholder.name: name for placeholder, name in zip(self.subgraph.placeholders, self.inputs, strict=True)
        }
        for local, op, inputs, shape in self.subgraph.nodes:
            names[local] = self.full(local)
            yield Node(names[local], op, tuple([names[name] for name in inputs]), shape)


@dataclass(frozen=True)
class Graph:
    """A lowered network.

    `outputs` maps the names that the network returns to nodes; with `single`, it returns one tensor rather than a
    mapping. `groups` labels what regions lie in: stages. `preprocessing` is the spec's `input`,
    for those who prepare images; `spec` is what it was lowered from, a `Spec`, or its YAML where the graph has been
    pickled.

    A task that is no feed-forward graph, such as detection, has the networks that it runs on these outputs in `calls`;
    `backbone` is where the module of the graph itself then lives in the whole. `warnings` tell what compiles, though
    probably not to what was meant.
    """

    name: str
    input: Node
    regions: tuple[Region, ...]
    groups: Mapping[str, str]
    outputs: Mapping[str, str]
    single: bool
    preprocessing: Any = None
    spec: Any = field(default=None, compare=False, repr=False)
    calls: tuple[Call, ...] = ()
    backbone: str = ""
    warnings: tuple[Diagnostic, ...] = field(default=(), compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        # A spec knows the texts it came from and the classes of its rows; neither belongs into a pickled module. Nor do
        # warnings, which point into the texts.
        state = {**{item.name: getattr(self, item.name) for item in fields(self)}, "warnings": ()}
        return state if self.spec is None or isinstance(self.spec, str) else {**state, "spec": to_yaml(self.spec, True)}

    def __deepcopy__(self, memo: dict[int, Any]) -> Graph:
        return self  # frozen all the way down

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All operations in execution order, the input first."""
        return (self.input, *(node for region in self.regions for node in region.nodes()))

    @cached_property
    def scopes(self) -> Mapping[str, str]:
        """Every dotted prefix of a node's name, with the label of what it stands for; backends make modules of them."""
        used: set[str] = set()
        for node in self.nodes:
            path = node.name.rpartition(".")[0]
            while path and path not in used:
                used.add(path)
                path = path.rpartition(".")[0]
        labels = dict(self.groups)
        for region in self.regions:
            labels[region.name] = region.label
            labels.update({region.full(path): label for path, label in region.subgraph.scopes.items()})
        return {path: label for path, label in labels.items() if path in used}

    @cached_property
    def own_total(self) -> Cost:
        """The cost of the graph itself, without what a task calls."""
        return Cost.total(region.subgraph.total for region in self.regions)

    @cached_property
    def total(self) -> Cost:
        """The cost of the whole network, `calls` and all."""
        return Cost.total([self.own_total, *(call.total for call in self.calls)])

    def shapes(self) -> dict[str, Shape]:
        """Output shapes by node name."""
        return {node.name: node.shape for node in self.nodes}

    def weighted(self) -> Iterator[tuple[Node, tuple[Shape, ...], tuple[Weight, ...]]]:
        """Every operation that owns tensors, with its inputs' shapes and these tensors, in execution order."""
        shapes = self.shapes()
        for node in self.nodes:
            inputs = tuple([shapes[name] for name in node.inputs])
            if weights := node.op.weights(*inputs):
                yield node, inputs, weights

    def priced(self) -> Iterator[tuple[Node, Cost]]:
        """Every node with its cost, in execution order."""
        yield self.input, Cost(0, 0, 0)
        costs = (cost for region in self.regions for _, cost in region.subgraph.priced())
        yield from zip(self.nodes[1:], costs, strict=True)


class Call(NamedTuple):
    """A network that a task runs on what it takes from the outputs: a head on each level, or on each proposal.

    `name` is where its module lives in the whole, and `on` says what it runs on: an output's name, or what the task
    picks from several, of which there are `times`. One that was called before, under the same name, brings no weights
    of its own `again`.
    """

    name: str
    graph: Graph
    on: str
    times: int = 1
    again: bool = False

    @property
    def total(self) -> Cost:
        """The cost of all its runs."""
        params, buffers, macs = self.graph.total
        return Cost(0, 0, self.times * macs) if self.again else Cost(params, buffers, self.times * macs)


@dataclass
class Builder:
    """Builds a subgraph; what `lower` methods of blocks call.

    Names given to `add` and `scope` are local: the scopes that are open make them dotted.
    """

    _placeholders: list[Node] = field(default_factory=list)
    _nodes: list[Node] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)
    _scopes: dict[str, str] = field(default_factory=dict)
    _prefix: str = ""

    def placeholder(self, shape: Shape) -> Node:
        """A stand-in for an input of this shape."""
        node = Node(f"@{len(self._placeholders)}", _PLACEHOLDER, (), shape)
        self._placeholders.append(node)
        return node

    @contextmanager
    def scope(self, name: str, label: str) -> Iterator[None]:
        """Group what is added inside under `name`; `label` becomes the class name of the group's module.

        Raises:
            ValueError: the name is taken.
        """
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
        shape = infer(op, tuple([i.shape for i in inputs]))
        node = Node(full, op, tuple([i.name for i in inputs]), shape)
        self._taken.add(full)
        self._nodes.append(node)
        return node

    def _dotted(self, name: str) -> str:
        return f"{self._prefix}.{name}" if self._prefix else name

    def finish(self, result: Node) -> Subgraph:
        """The subgraph that computes `result`."""
        return Subgraph(tuple(self._placeholders), tuple(self._nodes), self._scopes, result)


_PLACEHOLDER = Input()
