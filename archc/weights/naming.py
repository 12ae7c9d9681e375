"""A graph under a library's names: one slot for every tensor."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from archc.backends.torch import module_path
from archc.ir import ops
from archc.ir.graph import Graph, Node
from archc.weights.layout import Shape, shapes_there
from archc.weights.maps import Layout, RowRule
from archc.weights.skeleton import Part, Place, places, whole

COUNTER = ops.Weight("num_batches_tracked", (), trainable=False)
"""torch's own addition to a batch norm; only a momentum of None ever reads it, so files may lack it."""


@dataclass(frozen=True)
class Slot:
    """One tensor of the network, and where another library keeps it."""

    row: str
    part: Part
    node: str
    weight: ops.Weight
    names: tuple[str, ...]
    """Its names there, several where it lies in pieces; none where the map has no name for it."""
    shapes: tuple[Shape, ...]
    """The shapes of these."""
    pruned: bool = False
    """The network does not need it, so the module does not have it."""
    root: str = ""
    """Where the module of the graph that it is of lies in the whole."""

    @property
    def counter(self) -> bool:
        """Whether it is `COUNTER`."""
        return self.weight is COUNTER


def slots(graph: Graph, layout: Layout | None) -> list[Slot]:
    """Every tensor of the unpruned network in order, under the names of a layout, or archc's own."""
    found: list[Slot] = []
    kept = {node.name for node in graph.nodes}
    for place in places(whole(graph)):
        rule = _rule(layout, place) if layout else None
        namer = _Namer(place, rule) if rule else None
        for node, shapes in _weighted(place):
            full = _dotted(place.call, place.region.full(node.name))
            root = "" if place.call else graph.backbone
            if layout is None:
                prefixes: list[str] = [module_path(_dotted(root, full))]
            else:
                prefixes = namer.names(node.name) if namer else []
            for weight in (*node.op.weights(*shapes), *([COUNTER] if isinstance(node.op, ops.BatchNorm) else [])):
                names = tuple(_dotted(prefix, weight.name) for prefix in prefixes)
                kind = rule.kind if rule else None
                there = tuple(shapes_there(node.op, weight, kind, len(names))) if names else ()
                lacking = not place.call and full not in kept
                # A frozen norm counts no batches; a checkpoint of one that was not may hold the count.
                pruned = lacking or (weight is COUNTER and isinstance(node.op, ops.BatchNorm) and node.op.frozen)
                found.append(Slot(place.row_name, place.part, full, weight, names, there, pruned, root))
    return found


def _weighted(place: Place) -> Iterator[tuple[Node, list[ops.Shape]]]:
    subgraph = place.region.subgraph
    shapes = {node.name: node.shape for node in (*subgraph.placeholders, *subgraph.nodes)}
    for node in subgraph.nodes:
        inputs = [shapes[name] for name in node.inputs]
        if node.op.weights(*inputs):
            yield node, inputs


def _rule(layout: Layout, place: Place) -> RowRule | None:
    return next((rule for rule in layout.rows if _fits(rule, place)), None)


def _fits(rule: RowRule, place: Place) -> bool:
    firsts = {node.name.partition(".")[0] for node in place.region.subgraph.nodes}
    return (
        rule.at == place.part
        and rule.row in (None, place.row)
        and (rule.rows is None or rule.rows[0] <= place.row <= rule.rows[1])
        and (fnmatchcase(place.call, rule.call) if rule.call else not place.call)
        and rule.stage in (None, place.region.name.partition(".")[0])
        and rule.head in (None, place.head)
        and rule.heads in (None, place.heads)
        and rule.label in (None, place.region.label)
        and (rule.has is None or rule.has in firsts)
        and (rule.group_has is None or rule.group_has in place.group_labels)
    )


_FIELD = re.compile(r"\{([*#]?)(\w*)([+-]\d+)?\}")


class _Namer:
    """Names the parts of one row."""

    def __init__(self, place: Place, rule: RowRule) -> None:
        self.rule = rule
        firsts = [node.name.partition(".")[0] for node, _ in _weighted(place)]
        self.parts = {first: number for number, first in enumerate(dict.fromkeys(firsts))}
        self.numbers = {
            "row": place.row, "block": place.block, "group": place.group, "index": place.index, "head": place.head,
            "level": place.level,
        }  # fmt: skip
        self.children: dict[str, set[str]] = {}
        for node in place.region.subgraph.nodes:
            scope, _, rest = node.name.partition(".")
            self.children.setdefault(scope, set()).add(rest.partition(".")[0])

    def names(self, local: str) -> list[str]:
        """What the library calls this layer; nothing where the rule does not say."""
        for pattern, there in self.rule.parts.items():
            found = _pattern(pattern).fullmatch(local)
            if found:
                numbers = {**self.numbers, "part": self.parts[local.partition(".")[0]]}
                ends: Sequence[str] = [there] if isinstance(there, str) else there
                return [self._filled(_dotted(self.rule.name, end), numbers, found.groups()) for end in ends]
        return []

    def _filled(self, name: str, numbers: Mapping[str, int], stars: Sequence[str]) -> str:
        def value(field: re.Match[str]) -> str:
            sign, word, more = field.groups()
            if sign == "*":
                return stars[0]
            number = len(self.children[word]) if sign == "#" else numbers[word]
            return str(number + int(more or 0))

        return _FIELD.sub(value, name)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace(r"\*", r"(\w+)"))


def _dotted(*parts: str) -> str:
    return ".".join(part for part in parts if part)
