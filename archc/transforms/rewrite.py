"""The toolkit that transforms are written with: a network's operations in one flat list that can be edited.

A transform says what happens to operations, by their full names. The toolkit keeps everything else in step: what other
rows, the outputs and the levels read, the rows' subgraphs, shapes, weights, and the networks that run on proposals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from archc.ir.graph import Graph, Node, Region, Subgraph
from archc.ir.initial import ZEROS
from archc.ir.ops import Input, Op, Shape, Weight, infer
from archc.ir.state import Array, State, is_counter

Result = tuple[Graph, State | None]
"""What a transform returns."""


def rewrite(graph: Graph, state: State | None, edit: Callable[[Rewriter], None]) -> Result:
    """Run an edit on a network: on its graph, and on each of the graph's `calls`."""
    rewriter = Rewriter(graph, state)
    edit(rewriter)
    rewritten, weights = rewriter.finish()
    calls = []
    for call in rewritten.calls:
        prefix = f"{call.name}."
        old = None if state is None else {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        inner, new = rewrite(call.graph, old, edit)
        calls.append(call._replace(graph=inner))
        if weights is not None and new is not None:
            weights = {**weights, **{prefix + key: value for key, value in new.items()}}
    return replace(rewritten, calls=tuple(calls)), weights


class Rewriter:
    """A graph whose operations can be replaced, inserted and removed, and its weights, if there are any.

    Operations go by their full names, and so do the values that they compute. Iterating gives the operations in
    execution order, as they were when the loop began; `in` says whether one is still there.
    """

    def __init__(self, graph: Graph, state: State | None = None) -> None:
        self.graph = graph
        self.state: dict[str, Array] | None = None if state is None else dict(state)
        """The weights by canonical name; None where only the structure is wanted."""
        self._rows: list[dict[str, Node]] = [{node.name: node for node in region.nodes()} for region in graph.regions]
        self._row = {name: number for number, row in enumerate(self._rows) for name in row}
        self._returned = {*graph.outputs.values(), *graph.levels.values()}
        self._readers: dict[str, list[str]] = {}
        self._moved: dict[str, str] = {}
        self._edited: set[int] = set()
        self._shapes = dict(graph.shapes())
        self._owner: dict[str, str] = {}
        self._users: dict[str, list[str]] = {}
        for node in self:
            self._read(node)
            self._own(node)

    def __iter__(self) -> Iterator[Node]:
        return iter([node for row in self._rows for node in row.values()])

    def __contains__(self, name: str) -> bool:
        return name in self._row

    def __getitem__(self, name: str) -> Node:
        """The operation of this name.

        Raises:
            KeyError: there is none (any more).
        """
        return self._rows[self._row[name]][name]

    def get(self, name: str) -> Node | None:
        """The operation that computes a value; None for the network's input."""
        return self[name] if name in self._row else None

    def shape(self, name: str) -> Shape:
        """The shape of a value."""
        return self._shapes[name]

    def only_reader(self, name: str) -> Node | None:
        """The operation that alone reads a value, and once; None where something else needs the value, too.

        What the network returns, and a detector's levels, count as needed.
        """
        readers = self._readers.get(name, [])
        return self[readers[0]] if len(readers) == 1 and name not in self._returned else None

    def sharing(self, name: str) -> tuple[str, ...]:
        """The operations that use the weights of this one, itself among them, in execution order.

        A transform that changes the weights must rewrite all of them alike, or none.
        """
        return tuple(self._users[self._owner[name]])

    def owner(self, name: str) -> str:
        """The name under which the weights of an operation are kept."""
        return self._owner[name]

    def replace(self, name: str, op: Op, inputs: Iterable[str] | None = None) -> None:
        """Put another operation in the place of one; its inputs stay the same unless others are given.

        Weights of the same name keep their numbers and initial distribution. If the output's shape changes, the shapes
        of what reads it follow in `finish`.

        Raises:
            ShapeError: the inputs do not fit the new operation.
        """
        old = self[name]
        given = old.inputs if inputs is None else tuple(inputs)
        shapes = tuple([self.shape(value) for value in given])
        new = Node(name, op, given, infer(op, shapes), _weights(op, shapes, old.weights))
        self._unread(old)
        self._put(new)

    def insert(self, name: str, op: Op, *inputs: str, before: str) -> None:
        """Add an operation in front of another one of the same row. Its scopes must exist already.

        Raises:
            ValueError: the name is taken, or lies outside of the row.
            ShapeError: the inputs do not fit.
        """
        number = self._row[before]
        if name in self._row or not name.startswith(self.graph.regions[number].name + "."):
            raise ValueError(f"`{name}` cannot be inserted before `{before}`: the name is taken, or of another row")
        shapes = tuple([self.shape(value) for value in inputs])
        new = Node(name, op, inputs, infer(op, shapes), _weights(op, shapes, ()))
        row = self._rows[number]
        self._rows[number] = {}
        for other, node in row.items():
            if other == before:
                self._rows[number][name] = new
            self._rows[number][other] = node
        self._row[name] = number
        self._put(new)

    def bypass(self, name: str, value: str | None = None) -> None:
        """Remove an operation; what read its output reads `value` instead, by default its first input."""
        old = self[name]
        value = old.inputs[0] if value is None else value
        for reader in dict.fromkeys(self._readers.get(name, [])):
            node = self[reader]
            self._unread(node)
            self._put(node._replace(inputs=tuple([value if read == name else read for read in node.inputs])))
        if name in self._returned:
            self._returned = (self._returned - {name}) | {value}
        self._moved[name] = value
        self._remove(old)

    def remove_unread(self, name: str) -> None:
        """Remove an operation if nothing needs its output, and with it whatever only it needed."""
        pending = [name]
        while pending:
            value = pending.pop()
            node = self.get(value)
            if node is not None and not self._readers.get(value) and value not in self._returned:
                self._remove(node)
                pending += node.inputs

    def current(self, name: str) -> str:
        """The value that stands for one that has been bypassed; for any other value, that value itself."""
        while name in self._moved:
            name = self._moved[name]
        return name

    def weights(self, name: str) -> dict[str, Array]:
        """The weights of an operation by their own names, such as `weight` and `bias`. Needs a state."""
        assert self.state is not None
        return {weight.name: self.state[f"{self._owner[name]}.{weight.name}"] for weight in self[name].weights}

    def set_weights(self, name: str, weights: Mapping[str, Array]) -> None:
        """Give an operation, and those that share its weights, these weights. Needs a state."""
        assert self.state is not None
        self.state.update({f"{self._owner[name]}.{weight}": value for weight, value in weights.items()})

    def finish(self) -> Result:
        """The graph as edited, without its `calls` changed, and the weights of its own operations."""
        shapes: dict[str, Shape] = {self.graph.input.name: self.graph.input.shape}
        regions: list[Region] = []
        for number, region in enumerate(self.graph.regions):
            new = self._region(number, region, shapes)
            if new is not None:
                regions.append(new)
                shapes.update({new.full(node.name): node.shape for node in new.subgraph.nodes})
        names = {region.name for region in regions}
        graph = replace(
            self.graph,
            regions=tuple([r if r.shares in names else replace(r, shares="") for r in regions]),
            outputs={key: self.current(name) for key, name in self.graph.outputs.items()},
            levels={key: self.current(name) for key, name in self.graph.levels.items()},
        )
        return graph, None if self.state is None else _fitting(self.state, graph)

    def _put(self, node: Node) -> None:
        number = self._row[node.name]
        self._rows[number][node.name] = node
        self._shapes[node.name] = node.shape
        self._edited.add(number)
        self._read(node)
        self._own(node)

    def _remove(self, node: Node) -> None:
        self._unread(node)
        number = self._row.pop(node.name)
        del self._rows[number][node.name]
        self._edited.add(number)
        self._disown(node.name)

    def _own(self, node: Node) -> None:
        """Keep account of who uses which weights."""
        if not node.weights:
            self._disown(node.name)
        elif node.name not in self._owner:
            region = self.graph.regions[self._row[node.name]]
            self._owner[node.name] = region.owner(_local(region, node.name))
            self._users.setdefault(self._owner[node.name], []).append(node.name)

    def _disown(self, name: str) -> None:
        if name in self._owner:
            self._users[self._owner.pop(name)].remove(name)

    def _read(self, node: Node) -> None:
        for value in node.inputs:
            self._readers.setdefault(value, []).append(node.name)

    def _unread(self, node: Node) -> None:
        for value in node.inputs:
            self._readers[value].remove(node.name)

    def _region(self, number: int, region: Region, shapes: Mapping[str, Shape]) -> Region | None:
        """The region as edited; None for one that nothing is left of, not even a value that it passes on.

        `shapes` are those of all values before it.
        """
        inputs = tuple([self.current(name) for name in region.inputs])
        lowered_for = [placeholder.shape for placeholder in region.subgraph.placeholders]
        same_inputs = inputs == region.inputs and [shapes.get(name) for name in inputs] == lowered_for
        if same_inputs and number not in self._edited:
            return region
        row = self._rows[number]
        result = self._result(region, inputs)
        if result not in row and result not in shapes:  # its value was merged into one that is computed elsewhere
            if not row:
                return None
            result = next(reversed(row))
        needed = {name for node in row.values() for name in node.inputs} | {result}
        kept = [name for name in dict.fromkeys([*inputs, *_in_order(row)]) if name in needed and name not in row]
        local = {name: _local(region, name) for name in row} | {name: f"@{n}" for n, name in enumerate(kept)}
        placeholders = tuple([Node(local[name], Input(), (), shapes[name]) for name in kept])
        here = dict(shapes)
        nodes = []
        for node in row.values():
            given = tuple([here[name] for name in node.inputs])
            here[node.name] = infer(node.op, given)
            names = tuple([local[name] for name in node.inputs])
            weights = _weights(node.op, given, node.weights)
            nodes.append(Node(local[node.name], node.op, names, here[node.name], weights))
        results = {node.name: node for node in (*placeholders, *nodes)}
        scopes = {path: label for path, label in region.subgraph.scopes.items() if _holds_any(path, results)}
        subgraph = Subgraph(placeholders, tuple(nodes), scopes, results[local[result]])
        return replace(region, subgraph=subgraph, inputs=tuple(kept))

    def _result(self, region: Region, inputs: tuple[str, ...]) -> str:
        """The value that a region computes, or passes on."""
        placeholders, result = region.subgraph.placeholders, region.subgraph.result
        if result in placeholders:
            return inputs[placeholders.index(result)]
        return self.current(region.full(result.name))


def _local(region: Region, name: str) -> str:
    return name[len(region.name) + 1 :]


def _in_order(row: Mapping[str, Node]) -> Iterator[str]:
    return (name for node in row.values() for name in node.inputs)


def _holds_any(path: str, names: Iterable[str]) -> bool:
    return any(name.startswith(path + ".") for name in names)


def _weights(op: Op, inputs: tuple[Shape, ...], old: tuple[Weight, ...]) -> tuple[Weight, ...]:
    """The weights of an operation. Those it had before start as before, new ones at zero."""
    initial = {weight.name: weight.initial for weight in old}
    return tuple([weight._replace(initial=initial.get(weight.name, ZEROS)) for weight in op.weights(*inputs)])


def _fitting(state: Mapping[str, Array], graph: Graph) -> dict[str, Any]:
    """What of a state belongs to a graph's own operations, in their order; counters last."""
    owners = {node.name: node.weights for node, _ in graph.weighted()}
    keys = [f"{name}.{weight.name}" for name, weights in owners.items() for weight in weights]
    counters = [key for key in state if is_counter(key) and key.rpartition(".")[0] in owners]
    return {key: state[key] for key in (*keys, *counters) if key in state}
