"""A graph that torch runs operation by operation, so that every value can be looked at, or changed, on its way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from archc.backends.protocol import check
from archc.backends.torch.layers import EXPRESSIONS, layer
from archc.ir.graph import Graph, Node
from archc.ir.ops import Input
from archc.ir.state import State

Visit = Callable[[Node, Tensor], Tensor]
"""Is given every operation with its value, in order, and returns the value that the others read."""


class Interpreter:
    """A graph with its weights, in evaluation mode. It has no `calls`: of a detector, it runs the plain network."""

    def __init__(self, graph: Graph, state: State, *, dtype: torch.dtype = torch.float32) -> None:
        """Make the layers.

        Raises:
            ValueError: a state that does not fit the graph.
            SpecError: `unsupported-op` is the caller's to check: `BACKEND.require(graph)`.
        """
        check(state, graph)
        self.graph = graph
        self._layers: dict[str, nn.Module] = {}
        self._readers = {name: len(reading) for name, reading in graph.readers.items()}
        shapes = graph.shapes()
        for node in graph.nodes:
            if type(node.op) not in EXPRESSIONS and not isinstance(node.op, Input):
                made = layer(node.op, [shapes[name] for name in node.inputs], {"dtype": dtype}).eval()
                for weight in node.weights:
                    value = torch.tensor(state[f"{graph.owners[node.name]}.{weight.name}"], dtype=dtype)
                    _set(made, weight.name, value)
                self._layers[node.name] = made
        for name in (*graph.outputs.values(), *graph.levels.values()):
            self._readers[name] += 1

    def weight(self, node: Node, name: str = "weight") -> Tensor:
        """A weight of an operation; it may be changed in place."""
        found: Tensor = getattr(self._layers[node.name], name)
        return found.data

    @torch.no_grad()
    def compute(self, node: Node, inputs: Sequence[Tensor]) -> Tensor:
        """The value of an operation."""
        if type(node.op) in EXPRESSIONS:
            source = EXPRESSIONS[type(node.op)]([f"x[{number}]" for number in range(len(inputs))])
            value: Any = eval(source, {"torch": torch, "x": inputs})
        else:
            value = self._layers[node.name](*inputs)
        result: Tensor = value
        return result

    def run(self, images: Tensor, visit: Visit | None = None) -> dict[str, Tensor]:
        """Run the network on images [batch, channels, height, width]: what it returns, by output name.

        A value is freed as soon as nothing reads it any more.
        """
        values: dict[str, Tensor] = {}
        left = self.readers()
        for node in self.graph.nodes:
            value = self.compute(node, [values[name] for name in node.inputs]) if node.inputs else images
            values[node.name] = value if visit is None else visit(node, value)
            for name in self.released(node, left):
                del values[name]
        return {key: values[name] for key, name in self.graph.outputs.items()}

    def readers(self) -> dict[str, int]:
        """How often every value is read, by operations and by whoever called the network."""
        return dict(self._readers)

    def released(self, node: Node, left: dict[str, int]) -> Iterator[str]:
        """The values that nothing reads any more once an operation has run; `left` counts the reads to come."""
        for name in node.inputs:
            left[name] -= 1
            if not left[name]:
                yield name
        if not left.get(node.name):
            yield node.name


def _set(made: nn.Module, name: str, value: Tensor) -> None:
    target: Any = getattr(made, name)
    with torch.no_grad():
        target.copy_(value)
