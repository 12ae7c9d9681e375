"""The graph that specs are lowered to: primitive operations in execution order, under readable dotted names.

A graph is made of regions, one per row of the spec. The content of a region, its subgraph, has local names, so that
equal rows on equal inputs share one subgraph, in one graph and across graphs. The nodes under their full names are
made when something asks for them.

A graph stands on its own. It knows the shape, the weights and the initial distributions of every operation, the rows
that they came from, what the network returns, how images become its input, and which transforms have rewritten it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

from archc.document.diagnostics import Diagnostic
from archc.ir.ops import DEFAULT_INIT, Cost, Input, Op, Shape, ShapeError, Weight, infer
from archc.language.detector import Detector
from archc.language.schema import Spec
from archc.language.settings import Init
from archc.language.settings import Input as Preprocessing

GRAPH = "archc_graph"
"""The attribute of a compiled network that holds its graph."""

SPEC = "archc_spec"
"""The key under which a file of a network's weights states the spec, as YAML."""

TRANSFORMS = "archc_transforms"
"""The key under which such a file names the transforms that rewrote the network, separated by commas."""

MAX_OPERATIONS = 10_000
"""Operations of one row; far beyond any block."""


class Node(NamedTuple):
    """One operation and its one output, which goes by the node's name. `weights` are the tensors that it owns."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    shape: Shape
    weights: tuple[Weight, ...] = ()

    def cost(self, *inputs: Shape) -> Cost:
        """The operation's cost for one image, given the shapes of its inputs."""
        params = sum(weight.size for weight in self.weights if weight.trainable)
        buffers = sum(weight.size for weight in self.weights if not weight.trainable)
        return Cost(params, buffers, self.op.macs(self.shape, *inputs))


@dataclass(frozen=True)
class Subgraph:
    """The operations of one row under local names.

    `placeholders` stand for the inputs, `scopes` label the dotted prefixes of names, and `result` is the row's output.
    """

    placeholders: tuple[Node, ...]
    nodes: tuple[Node, ...]
    scopes: Mapping[str, str]
    result: Node

    def costs(self) -> Iterator[tuple[Node, Cost]]:
        """Every node with its cost, in execution order."""
        shapes = {node.name: node.shape for node in (*self.placeholders, *self.nodes)}
        for node in self.nodes:
            yield node, node.cost(*[shapes[name] for name in node.inputs])

    @cached_property
    def total(self) -> Cost:
        """The cost of the whole subgraph."""
        return Cost.total(cost for _, cost in self.costs())

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


@dataclass(frozen=True)
class Region:
    """One row's subgraph in the graph, reading the values named by `inputs`."""

    stage: str
    row: int
    """The row's number in its stage, after all passes."""
    label: str
    """The class name of its module."""
    subgraph: Subgraph
    inputs: tuple[str, ...]
    source: tuple[str, int] = field(default=("", 0), compare=False)
    """Stage and number of the row as written, before the passes."""
    width: str = field(default="", compare=False)
    """The row's output width as written, before `width_mult`; empty where the row states none."""
    is_head: bool = False
    """Whether the row belongs to a task's head and not to the backbone."""
    level: str = ""
    """The detector's level that this head predicts from."""
    shares: str = ""
    """The region of the same stage whose weights this one uses; it then owns none."""

    @property
    def name(self) -> str:
        """Stage and number, `c4.0`: the prefix of the names of its operations."""
        return f"{self.stage}.{self.row}"

    def full(self, local: str) -> str:
        """A local name of the subgraph, in the graph."""
        return f"{self.name}.{local}" if local else self.name

    def owner(self, local: str) -> str:
        """The name under which the weights of an operation are kept."""
        path = self.shares or self.name
        return f"{path}.{local}" if local else path

    def nodes(self) -> Iterator[Node]:
        """The subgraph's operations under their full names."""
        pairs = zip(self.subgraph.placeholders, self.inputs, strict=True)
        names = {placeholder.name: name for placeholder, name in pairs}
        for local, op, inputs, shape, weights in self.subgraph.nodes:
            names[local] = self.full(local)
            yield Node(names[local], op, tuple([names[name] for name in inputs]), shape, weights)

    def costs(self) -> Iterator[tuple[Node, Cost]]:
        """Every node of the subgraph with its cost; weights that another region owns cost nothing here."""
        for node, cost in self.subgraph.costs():
            yield node, cost._replace(params=0, buffers=0) if self.shares else cost

    @property
    def total(self) -> Cost:
        """The cost of the region."""
        total = self.subgraph.total
        return total._replace(params=0, buffers=0) if self.shares else total


@dataclass(frozen=True)
class Graph:
    """A lowered network.

    `outputs` maps the names of what the network returns to nodes; with `single`, it returns one tensor rather than a
    mapping. A network whose heads run on proposals, as a two-stage detector's do, has them in `calls`.
    """

    name: str
    input: Node
    regions: tuple[Region, ...]
    stages: Mapping[str, str]
    """Class name of every stage's module, by stage."""
    outputs: Mapping[str, str]
    single: bool
    levels: Mapping[str, str] = field(default_factory=dict)
    """The feature maps that a detector predicts from, by name; empty for other networks."""
    calls: tuple[Call, ...] = ()
    preprocessing: Preprocessing | None = None
    """How an image becomes the input."""
    num_classes: int = 0
    """The classes that the network was made for, a detector's background among them."""
    detector: Detector | None = None
    """A detector's settings."""
    whole: tuple[Region, ...] = ()
    """All rows of the spec in full, where the outputs do not need all of them; `regions` then lack the rest."""
    transforms: tuple[str, ...] = ()
    """The transforms that have rewritten the graph, in their order."""
    before: Graph | None = field(default=None, repr=False)
    """The graph that they started from: what checkpoints of the network fit."""
    spec: Spec | str | None = field(default=None, compare=False, repr=False)
    """Where the graph comes from: the spec, or its YAML where the graph was pickled or read from JSON."""
    warnings: tuple[Diagnostic, ...] = field(default=(), compare=False, repr=False)
    """What compiles, though probably not to what was meant."""

    def __getstate__(self) -> dict[str, Any]:
        # A spec knows the texts it came from and the classes of its rows; neither belongs into a pickled module. Nor do
        # warnings, which point into the texts.
        return {**{item.name: getattr(self, item.name) for item in fields(self)}, "warnings": (), "spec": self.yaml}

    def __deepcopy__(self, memo: dict[int, Any]) -> Graph:
        return self  # frozen all the way down

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {len(self.regions)} rows, {len(self.nodes) - 1} operations>"

    def __str__(self) -> str:
        from archc.ir.printer import summary

        return summary(self)

    @cached_property
    def yaml(self) -> str | None:
        """The spec that the graph comes from, as YAML with every setting; None where it comes from none."""
        return self.spec if self.spec is None or isinstance(self.spec, str) else self.spec.to_yaml(full=True)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All operations in execution order, the input first."""
        return (self.input, *(node for region in self.regions for node in region.nodes()))

    @cached_property
    def readers(self) -> Mapping[str, Sequence[Node]]:
        """The operations that read each value, in execution order, by the value's name; empty where none does."""
        found: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in node.inputs:
                found[name].append(node)
        return found

    @cached_property
    def owners(self) -> Mapping[str, str]:
        """The names under which the weights of each operation are kept, in execution order; see `Region.owner`."""
        return {
            region.full(node.name): region.owner(node.name) for region in self.regions for node in region.subgraph.nodes
        }

    @cached_property
    def region(self) -> Mapping[str, Region]:
        """The regions by name."""
        return {region.name: region for region in self.regions}

    @cached_property
    def scopes(self) -> Mapping[str, str]:
        """Every dotted prefix of a node's name, with its label; backends make modules of them."""
        used: set[str] = set()
        for node in self.nodes:
            path = node.name.rpartition(".")[0]
            while path and path not in used:
                used.add(path)
                path = path.rpartition(".")[0]
        labels = dict(self.stages)
        for region in self.regions:
            labels[region.name] = region.label
            labels.update({region.full(path): label for path, label in region.subgraph.scopes.items()})
        return {path: label for path, label in labels.items() if path in used}

    @cached_property
    def own_total(self) -> Cost:
        """The cost of the graph without its `calls`."""
        return Cost.total(region.total for region in self.regions)

    @cached_property
    def total(self) -> Cost:
        """The cost of the whole network."""
        return Cost.total([self.own_total, *(call.total for call in self.calls)])

    @cached_property
    def _shapes(self) -> Mapping[str, Shape]:
        return {node.name: node.shape for node in self.nodes}

    def shapes(self) -> Mapping[str, Shape]:
        """Output shapes by node name."""
        return self._shapes

    def weighted(self) -> Iterator[tuple[Node, tuple[Shape, ...]]]:
        """Every operation that owns tensors, with its inputs' shapes, in execution order; those of `calls` not."""
        shapes = self._shapes
        for region in self.regions:
            for node in () if region.shares else region.nodes():
                if node.weights:
                    yield node, tuple([shapes[name] for name in node.inputs])

    def tensors(self) -> Iterator[tuple[str, Weight]]:
        """Every weight of the network, `calls` included, under its canonical name: the keys of a `State`, in order."""
        for node, _ in self.weighted():
            yield from ((f"{node.name}.{weight.name}", weight) for weight in node.weights)
        for call in self.calls:
            yield from ((f"{call.name}.{key}", weight) for key, weight in call.graph.tensors())

    def costs(self) -> Iterator[tuple[Node, Cost]]:
        """Every node with its cost, in execution order."""
        yield self.input, Cost(0, 0, 0)
        costs = (cost for region in self.regions for _, cost in region.costs())
        yield from zip(self.nodes[1:], costs, strict=True)

    def to_json(self) -> dict[str, Any]:
        """The whole graph as plain JSON values; see `archc.ir.serial`."""
        from archc.ir.serial import to_json

        return to_json(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Graph:
        """A graph from its JSON form, verified; equal to the one that was written.

        Raises:
            ValueError: another format or version, an unknown operation, or a graph that does not hold together.
        """
        from archc.ir.serial import from_json

        return from_json(value)


class Call(NamedTuple):
    """A network that runs on what a detector picks: `on` the proposals, of which there are at most `times`.

    The names of its weights begin with `name`.
    """

    name: str
    graph: Graph
    on: str
    times: int = 1

    @property
    def total(self) -> Cost:
        """The cost of all its runs."""
        params, buffers, macs = self.graph.total
        return Cost(params, buffers, self.times * macs)


class Builder:
    """Builds a subgraph; what `lower` methods of blocks call.

    Names given to `add` and `scope` are local: the scopes that are open make them dotted. `init` says how the weights
    of the operations start.
    """

    def __init__(self, init: Init = DEFAULT_INIT) -> None:
        self._init = init
        self._placeholders: list[Node] = []
        self._nodes: list[Node] = []
        self._taken: set[str] = set()
        self._scopes: dict[str, str] = {}
        self._prefix = ""

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
            ShapeError: the inputs do not fit, or the row has too many operations.
            ValueError: the name is taken.
        """
        full = self._dotted(name) if name else self._prefix
        if full in self._taken:
            raise ValueError(f"the name `{full}` is used twice")
        if len(self._nodes) == MAX_OPERATIONS:
            raise ShapeError(f"it stands for more than {MAX_OPERATIONS:,} operations")
        shapes = tuple([i.shape for i in inputs])
        shape = infer(op, shapes)
        weights = op.weights(*shapes, init=self._init)
        node = Node(full, op, tuple([i.name for i in inputs]), shape, weights)
        self._taken.add(full)
        self._nodes.append(node)
        return node

    def _dotted(self, name: str) -> str:
        return f"{self._prefix}.{name}" if self._prefix else name

    def finish(self, result: Node) -> Subgraph:
        """The subgraph that computes `result`."""
        return Subgraph(tuple(self._placeholders), tuple(self._nodes), self._scopes, result)


_PLACEHOLDER = Input()
