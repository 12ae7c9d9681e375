"""The report of a graph: its cost and its shapes, in exact numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from archc.analysis.memory import peak_activation_bytes
from archc.analysis.receptive_field import Field, fields, widest
from archc.ir.graph import Graph, Region
from archc.ir.ops import Shape

if TYPE_CHECKING:
    from archc.analysis.latency import Latency

CONVENTION = "archc (multiply-accumulates of convolutions, linears, matrix products; half of torch's FlopCounterMode)"


@dataclass(frozen=True, slots=True)
class Layer:
    """One primitive operation that has parameters or MACs.

    In a detector's head, `on` says what it runs on, a level or the proposals, and `times` how often. `macs` counts all
    runs; `output` is the shape of one run's output.
    """

    name: str
    op: str
    params: int
    macs: int
    output: Shape
    on: str = ""
    times: int = 1

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `on` and `times` only of heads' layers."""
        plain = {"name": self.name, "op": self.op, "params": self.params, "macs": self.macs}
        head = {"on": self.on, "times": self.times} if self.on else {}
        return {**plain, "output": list(self.output), **head}


@dataclass(frozen=True, slots=True)
class HeadPart:
    """A detector's head on one level, or on the proposals, of which there are `times`.

    `macs` counts all runs, `macs_each` one of them. `params` is 0 where the head shares the weights of another.
    """

    name: str
    blocks: tuple[str, ...]
    on: str
    times: int
    params: int
    macs: int
    macs_each: int
    output: Shape


@dataclass(frozen=True, slots=True)
class Summary:
    """A stage, or a row of one: what it contains adds up to this.

    `blocks` has one label per row; `output` and `field` are those of the last operation.
    """

    name: str
    blocks: tuple[str, ...]
    params: int
    macs: int
    output: Shape
    field: Field


@dataclass(frozen=True)
class Report:
    """The cost of a network, computed without building it.

    `params` are trainable parameters, `macs` follow `convention`, both for one image; `layers` has one entry per
    primitive operation with either, in execution order, and sums to them exactly. A detector's heads are counted on
    every level, and on as many proposals as it keeps. Receptive fields are those of its levels, and memory leaves out
    what runs on proposals. `latency` is what a table of measurements says of the network.
    """

    graph: Graph
    convention: str = CONVENTION
    latency: Latency | None = None

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return self.graph.total.params

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return self.graph.total.macs

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every primitive operation that has parameters or MACs."""
        return tuple(layer for layer in self._layers() if layer.params or layer.macs)

    def _layers(self) -> Iterator[Layer]:
        for region in self.graph.regions:
            for node, cost in region.costs():
                yield Layer(region.full(node.name), node.op.kind, cost.params, cost.macs, node.shape, region.level)
        for call in self.graph.calls:
            for node, cost in call.graph.costs():
                name, macs = f"{call.name}.{node.name}", call.times * cost.macs
                yield Layer(name, node.op.kind, cost.params, macs, node.shape, call.on, call.times)

    @property
    def name(self) -> str:
        """The network's name."""
        return self.graph.name

    @property
    def input(self) -> Shape:
        """Channels, height, width."""
        return self.graph.input.shape

    @cached_property
    def peak_activation_bytes(self) -> int:
        """See `archc.analysis.memory`."""
        return peak_activation_bytes(self.graph)

    @cached_property
    def fields(self) -> dict[str, Field]:
        """The receptive field and stride of every value; see `archc.analysis.receptive_field`."""
        return fields(self.graph)

    @cached_property
    def stages(self) -> tuple[Summary, ...]:
        """The stages, in order, without a detector's heads on its levels: those are in `heads`."""
        return self._summaries(lambda region: region.stage)

    @cached_property
    def rows(self) -> tuple[Summary, ...]:
        """The rows of all stages, in order, without a detector's heads on its levels."""
        return self._summaries(lambda region: region.name)

    @cached_property
    def heads(self) -> tuple[HeadPart, ...]:
        """What a detector runs on its levels and on its proposals, in order; empty for any other network."""
        return (*self._level_heads(), *self._proposal_heads())

    def _level_heads(self) -> Iterator[HeadPart]:
        returned = list(self.graph.outputs.values())
        for region in self.graph.regions:
            if region.level:
                (params, _, macs), names = region.total, {region.full(node.name) for node in region.subgraph.nodes}
                shape = self._shapes[next(name for name in returned if name in names)]
                yield HeadPart(region.name, (region.label,), region.level, 1, params, macs, macs, shape)

    def _proposal_heads(self) -> Iterator[HeadPart]:
        for call in self.graph.calls:
            labels = tuple(region.label for region in call.graph.regions)
            shape = call.graph.shapes()[next(iter(call.graph.outputs.values()))]
            (params, _, macs), each = call.total, call.graph.total.macs
            yield HeadPart(call.name, labels, call.on, call.times, params, macs, each, shape)

    @property
    def _returned(self) -> Mapping[str, str]:
        """What the report shows as outputs: a detector's levels, another network's outputs."""
        return self.graph.levels or self.graph.outputs

    @cached_property
    def outputs(self) -> tuple[Summary, ...]:
        """What the network returns, or a detector's levels: channels, size and stride of each; costs are 0 here."""
        return tuple(
            Summary(key, (), 0, 0, self._shapes[name], self.fields[name]) for key, name in self._returned.items()
        )

    @property
    def receptive_field(self) -> tuple[int | None, int | None]:
        """Pixels high and wide that the output sees, the widest where there are several; None for the whole input."""
        fields = [self.fields[name] for name in self._returned.values()]
        return widest([field.height for field in fields]), widest([field.width for field in fields])

    @cached_property
    def _shapes(self) -> Mapping[str, Shape]:
        return self.graph.shapes()

    def _summaries(self, key: Callable[[Region], str]) -> tuple[Summary, ...]:
        parts: dict[str, Summary] = {}
        for region in self.graph.regions:
            if region.level:
                continue
            name, nodes, cost = key(region), region.subgraph.nodes, region.total
            before = parts.get(name)
            last = region.full(nodes[-1].name) if nodes else region.inputs[0]
            parts[name] = Summary(
                name,
                (*(before.blocks if before else ()), region.label),
                cost.params + (before.params if before else 0),
                cost.macs + (before.macs if before else 0),
                self._shapes[last],
                self.fields[last],
            )
        return tuple(parts.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `name`, `input`, `params`, `macs` and `layers` are a stable interface."""
        return {
            "name": self.name,
            "input": list(self.input),
            "params": self.params,
            "macs": self.macs,
            "convention": self.convention,
            "peak_activation_bytes": self.peak_activation_bytes,
            "receptive_field": list(self.receptive_field),
            "outputs": {part.name: {"shape": list(part.output), "stride": part.field.stride} for part in self.outputs},
            "layers": [layer.to_dict() for layer in self.layers],
            **({"heads": [{**asdict(head), "output": list(head.output)} for head in self.heads]} if self.heads else {}),
            **({"latency": self.latency.to_dict()} if self.latency else {}),
        }
