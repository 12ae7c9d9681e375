"""The report of a graph: its price and its shape, in numbers that are exact."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from archc.analysis.memory import peak_activation_bytes
from archc.analysis.receptive_field import Field, fields, widest
from archc.ir.graph import Graph
from archc.ir.ops import Shape

CONVENTION = "archc (multiply-accumulates of convolutions, linears, matrix products; half of torch's FlopCounterMode)"


@dataclass(frozen=True, slots=True)
class Layer:
    """One primitive operation that has parameters or MACs."""

    name: str
    op: str
    params: int
    macs: int
    output: Shape


@dataclass(frozen=True, slots=True)
class Part:
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
    """The price of a network, computed without building it.

    `params` are trainable parameters, `macs` follow `convention`, both for one image; `layers` has one entry per
    primitive operation with either, in execution order, and sums to them exactly.
    """

    graph: Graph
    convention: str = CONVENTION

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
        return tuple(
            Layer(node.name, node.op.kind, cost.params, cost.macs, node.shape)
            for node, cost in self.graph.priced()
            if cost.params or cost.macs
        )

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
    def stages(self) -> tuple[Part, ...]:
        """The stages, in order."""
        return self._parts(1)

    @cached_property
    def rows(self) -> tuple[Part, ...]:
        """The rows of all stages, in order."""
        return self._parts(2)

    @cached_property
    def outputs(self) -> tuple[Part, ...]:
        """What the network returns: for each output its channels, size and stride; nothing is priced twice here."""
        return tuple(
            Part(key, (), 0, 0, self._shapes[name], self.fields[name]) for key, name in self.graph.outputs.items()
        )

    @property
    def receptive_field(self) -> tuple[int | None, int | None]:
        """Pixels high and wide that the output sees, the widest where there are several; None for the whole input."""
        fields = [self.fields[name] for name in self.graph.outputs.values()]
        return widest([field.height for field in fields]), widest([field.width for field in fields])

    @cached_property
    def _shapes(self) -> dict[str, Shape]:
        return self.graph.shapes()

    def _parts(self, depth: int) -> tuple[Part, ...]:
        parts: dict[str, Part] = {}
        for region in self.graph.regions:
            name = ".".join(region.name.split(".")[:depth])
            nodes, cost = region.fragment.nodes, region.fragment.total
            before = parts.get(name)
            last = region.full(nodes[-1].name) if nodes else region.inputs[0]
            parts[name] = Part(
                name,
                (*(before.blocks if before else ()), region.label),
                cost.params + (before.params if before else 0),
                cost.macs + (before.macs if before else 0),
                self._shapes[last],
                self.fields[last],
            )
        return tuple(parts.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `name`, `input`, `params`, `macs` and `layers` are a stable interface (DESIGN section 6)."""
        return {
            "name": self.name,
            "input": list(self.input),
            "params": self.params,
            "macs": self.macs,
            "convention": self.convention,
            "peak_activation_bytes": self.peak_activation_bytes,
            "receptive_field": list(self.receptive_field),
            "outputs": {part.name: {"shape": list(part.output), "stride": part.field.stride} for part in self.outputs},
            "layers": [{**asdict(layer), "output": list(layer.output)} for layer in self.layers],
        }
