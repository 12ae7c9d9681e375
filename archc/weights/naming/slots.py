"""A network under a library's names: one slot for each of its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from archc.blocks.heads import NAME
from archc.ir import ops
from archc.ir.graph import Graph, Node, Region
from archc.ir.initial import ZEROS
from archc.ir.ops import Weight
from archc.ir.state import COUNTER
from archc.language.detector import FasterRcnn
from archc.weights.naming.layout import Shape, shapes_there
from archc.weights.naming.places import Place, Section, places
from archc.weights.naming.schemes import RowRule, Scheme

_COUNTER = Weight(COUNTER, (), trainable=False, initial=ZEROS)
"""torch counts the batches that a batch norm has seen. Only a momentum of None reads it, so files may lack it."""


@dataclass(frozen=True)
class Slot:
    """One tensor of the network, and where a library keeps it."""

    row: str
    stage: str
    """Its stage, or the call that it belongs to."""
    section: Section
    local: str
    """Its operation and weight, below the row: `expand.conv.weight`."""
    weight: Weight
    names: tuple[str, ...]
    """Its names there, several if it lies in pieces; none if the library has no name for it."""
    shapes: tuple[Shape, ...]
    """The shapes of these."""
    pruned: bool = False
    """Whether the network's outputs do not need it, so that the network does not have it."""

    @property
    def key(self) -> str:
        """Its key in a State."""
        return f"{self.row}.{self.local}"

    @property
    def counter(self) -> bool:
        """Whether it counts batches, and is no weight."""
        return self.weight is _COUNTER

    @property
    def params(self) -> int:
        """The parameters in it; 0 for statistics and counters."""
        return self.weight.size if self.weight.trainable else 0


class Naming:
    """The names of one network's tensors under every scheme, each made when it is first asked for."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._slots: dict[tuple[str, str] | None, tuple[Slot, ...]] = {}

    @cached_property
    def places(self) -> list[Place]:
        """The rows that own weights."""
        return places(self.graph)

    def slots(self, scheme: Scheme | None) -> tuple[Slot, ...]:
        """Every tensor of the network and of its pruned rows, in order; without a scheme under archc's own names."""
        key = None if scheme is None else (scheme.library, scheme.name)
        if key not in self._slots:
            self._slots[key] = tuple(self._made(scheme))
        return self._slots[key]

    def names(self, scheme: Scheme | None) -> set[str]:
        """All names that the network has under a scheme."""
        return {name for slot in self.slots(scheme) for name in slot.names}

    def absent(self, scheme: Scheme | None) -> list[str]:
        """The prefixes of a detector's heads on proposals, under a scheme, if the network is one without them."""
        graph = self.graph
        if graph.calls or not isinstance(graph.detector, FasterRcnn):
            return []
        if scheme is None:
            return [NAME]
        return [rule.name for rule in scheme.rows if rule.stage is not None and rule.stage not in graph.stages]

    @cached_property
    def _kept(self) -> set[str] | None:
        """The names of all operations; None where nothing is pruned."""
        return {node.name for node in self.graph.nodes} if self.graph.whole else None

    def _made(self, scheme: Scheme | None) -> Iterator[Slot]:
        for place in self.places:
            region = place.region
            namer = None if scheme is None else _Namer(place, _rule(scheme, place))
            kind = namer.rule.kind if namer is not None and namer.rule is not None else None
            for node in region.subgraph.nodes:
                if not node.weights:
                    continue
                prefixes = [_dotted(place.row_name, node.name)] if namer is None else namer.names(node.name)
                counts = isinstance(node.op, ops.BatchNorm)
                pruned = bool(self._kept is not None and not place.call and region.full(node.name) not in self._kept)
                for weight in (*node.weights, _COUNTER) if counts else node.weights:
                    names = tuple([f"{prefix}.{weight.name}" if prefix else weight.name for prefix in prefixes])
                    shapes = shapes_there(node.op, weight.shape, kind, len(names)) if names else ()
                    # A frozen norm counts no batches; a checkpoint of one that was not may hold the count.
                    lacks = pruned or (weight is _COUNTER and isinstance(node.op, ops.BatchNorm) and node.op.frozen)
                    local = _dotted(node.name, weight.name)
                    yield Slot(
                        place.row_name, place.call or region.stage, place.section, local, weight, names, shapes, lacks
                    )


def _rule(scheme: Scheme, place: Place) -> RowRule | None:
    parts = {node.name.partition(".")[0] for node in place.region.subgraph.nodes}
    return next((rule for rule in scheme.rows if rule.fits(place, parts)), None)


class _Namer:
    """Names the layers of one row."""

    def __init__(self, place: Place, rule: RowRule | None) -> None:
        self.rule = rule
        self.place = place

    def names(self, local: str) -> list[str]:
        """What the library calls this layer; nothing where the map does not say."""
        found = self.rule.templates(local) if self.rule is not None else None
        if found is None:
            return []
        templates, star = found
        numbers = {**self._numbers, "part": self._parts[local.partition(".")[0]]}
        return [template.fill(numbers, star, self._children) for template in templates]

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        fields = ("row", "block", "group", "index", "segment", "position", "head")
        return {name: getattr(self.place, name) for name in fields}

    @cached_property
    def _parts(self) -> Mapping[str, int]:
        firsts = dict.fromkeys(node.name.partition(".")[0] for node in _weighted(self.place.region))
        return {first: number for number, first in enumerate(firsts)}

    @cached_property
    def _children(self) -> Mapping[str, int]:
        found: dict[str, set[str]] = {}
        for node in self.place.region.subgraph.nodes:
            scope, _, rest = node.name.partition(".")
            found.setdefault(scope, set()).add(rest.partition(".")[0])
        return {scope: len(parts) for scope, parts in found.items()}


def _weighted(region: Region) -> Iterator[Node]:
    return (node for node in region.subgraph.nodes if node.weights)


def _dotted(*parts: str) -> str:
    return ".".join([part for part in parts if part])
