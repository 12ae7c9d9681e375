"""What int8 costs row by row: the size of its weights, the cosine of its result, and the row alone in int8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from archc.backends.torch.interpret import Interpreter
from archc.ir.graph import Graph, Node
from archc.ir.quantization import Quantization, int8_operations
from archc.ir.state import Array, State
from archc.quantization.agreement import Agreement, Outputs, compare, cosine, outputs_of
from archc.quantization.observe import batches
from archc.quantization.simulate import Simulation
from archc.quantization.values import leaving, operations_of


@dataclass(frozen=True)
class Row:
    """A row: the bytes of its weights in float and in int8, and the least cosine of its result with float's.

    `alone` compares the network's outputs when this row alone computes in int8; None where that was not asked for.
    """

    name: str
    label: str
    in_int8: bool
    float_bytes: int
    bytes: int
    cosine: float
    alone: Agreement | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "row": self.name,
            "block": self.label,
            "int8": self.in_int8,
            "float_bytes": self.float_bytes,
            "bytes": self.bytes,
            "cosine": self.cosine,
            "alone": None if self.alone is None else self.alone.to_dict(),
        }


def rows(
    graph: Graph,
    exact: State,
    state: State,
    quantization: Quantization,
    images: Array,
    *,
    alone: Mapping[str, Agreement],
) -> tuple[Row, ...]:
    """Every row. `exact` are the weights in float, `state` those that int8 rounds; `alone` is `sensitivity`'s."""
    chosen = int8_operations(graph, quantization)
    cosines = _cosines(graph, exact, state, quantization, images)
    found: list[Row] = []
    for region in graph.regions:
        nodes = list(region.nodes())
        sizes = [(node, sum(weight.size for weight in node.weights)) for node in nodes if not region.shares]
        floats = sum(4 * size for _, size in sizes)
        held = sum(_bytes(node, quantization) if node.name in chosen else 4 * size for node, size in sizes)
        in_int8 = any(node.name in chosen for node in nodes)
        name = region.name
        found.append(Row(name, region.label, in_int8, floats, held, cosines.get(name, 1.0), alone.get(name)))
    return tuple(found)


def sensitivity(
    graph: Graph,
    state: State,
    quantization: Quantization,
    images: Array,
    labels: Sequence[str],
) -> dict[str, Agreement]:
    """What the outputs lose when one row alone computes in int8, for every row that has int8 operations.

    `state` are the weights in float: without corrections, which belong to the whole network in int8.
    """
    exact = outputs_of(Interpreter(graph, state), images)
    every = frozenset(node.name for node in graph.nodes[1:])
    chosen = int8_operations(graph, quantization)
    found: dict[str, Agreement] = {}
    for region in graph.regions:
        own = operations_of(graph, [region.name])
        if own.isdisjoint(chosen):
            continue
        only = leaving(graph, quantization, every - own)
        found[region.name] = compare(graph, exact, outputs_of(Simulation(graph, state, only), images), labels)
    return found


def worst_first(alone: Mapping[str, Agreement]) -> list[str]:
    """The rows by what they lose alone, the worst first: by predictions, then by the mean cosine."""
    return sorted(alone, key=lambda name: (alone[name].same or 0.0, alone[name].mean_cosine))


def outputs_in_int8(graph: Graph, state: State, quantization: Quantization, images: Array) -> Outputs:
    """What the network returns in int8."""
    return outputs_of(Simulation(graph, state, quantization), images)


def _bytes(node: Node, quantization: Quantization) -> int:
    """The weights of an int8 operation: a byte for each number of the kernel, four for each bias and each scale."""
    sizes = {weight.name: weight.size for weight in node.weights}
    scales = 4 * node.weights[0].shape[0] if sizes else 0
    return sizes.get("weight", 0) + 4 * sizes.get("bias", 0) + scales


def _cosines(graph: Graph, exact: State, state: State, quantization: Quantization, images: Array) -> dict[str, float]:
    """The least cosine of every row's result over the images."""
    results = {region.full(region.subgraph.result.name): region.name for region in graph.regions}
    float_network, int8_network = Interpreter(graph, exact), Simulation(graph, state, quantization)
    found: dict[str, float] = {}
    for batch in batches(images):
        wanted: dict[str, Array] = {}

        def keep(node: Node, value: Tensor, wanted: dict[str, Array] = wanted) -> Tensor:
            if node.name in results:
                wanted[results[node.name]] = value.numpy()
            return value

        def look(node: Node, value: Tensor, wanted: dict[str, Array] = wanted) -> Tensor:
            if node.name in results:
                name = results[node.name]
                found[name] = min(found.get(name, 1.0), cosine(wanted.pop(name), value.numpy()))
            return value

        float_network.run(batch, keep)
        int8_network.run(batch, look)
    return found
