"""Where every row of a network stands, in the terms that libraries' names are made of.

Libraries number things: the n-th layer, the n-th block of the k-th group, the last layer of the classifier. These
numbers follow from the graph alone, so they hold for any width, any depth and any number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from archc.ir import ops
from archc.ir.graph import Graph, Region

Section = Literal["stem", "body", "neck", "head"]


@dataclass(frozen=True)
class Place:
    """A row that owns weights, and where it stands."""

    region: Region
    section: Section
    """`stem`: before the first block. `body`: the blocks. `neck`: convolutions after the last block. `head`: all that
    follows the global pool, and the rows of tasks' heads."""
    row: int = 0
    """Its number among the rows before the head."""
    block: int = 0
    """Its number from the first block on."""
    group: int = 0
    """The number of its group: blocks of one stage and one width, without a stride between them."""
    index: int = 0
    """Its number in its group; for a head on a detector's level or on proposals, its number in its stage."""
    segment: int = 0
    """How many of a detector's levels are taken from rows before it."""
    position: int = 0
    """Its number in its segment. What follows a level inside a row is row 0 of the next segment."""
    split: str = ""
    """The part that a detector's level is taken from, if that is inside the row."""
    head: int = 0
    """Its number among the rows of the head, without those on levels and on proposals."""
    heads: int = 0
    """How many of these there are."""
    last: bool = False
    """Whether it is the last row of its stage."""
    own_head: bool = False
    """Whether it is a detector's head, on a level or on proposals."""
    group_labels: frozenset[str] = frozenset()
    """The labels of the rows in its group."""
    call: str = ""
    """The name of the call whose graph it belongs to."""

    @property
    def row_name(self) -> str:
        """Stage and number, after the name of the call."""
        return f"{self.call}.{self.region.name}" if self.call else self.region.name


def rows(graph: Graph) -> tuple[Region, ...]:
    """All rows of a network: a backbone's tensors have the names that they have in the classifier."""
    return graph.whole or graph.regions


def row_names(graph: Graph) -> list[str]:
    """The names of all rows in order, those of calls included."""
    called = [f"{call.name}.{region.name}" for call in graph.calls for region in call.graph.regions]
    return [*(region.name for region in rows(graph)), *called]


def places(graph: Graph) -> list[Place]:
    """The rows that own weights, in order."""
    regions = rows(graph)
    lasts = {region.stage: region.row for region in regions}
    layers = {region.name: number for region in regions if (number := _layers(region)) and not region.shares}
    weighted = [region for region in regions if region.name in layers]
    pooled = _after_pool(regions)
    head = [r for r in weighted if not r.level and (r.is_head or r.name in pooled)]
    backbone = [r for r in weighted if not (r.level or r.is_head or r.name in pooled)]
    found = [*_backbone(backbone, layers, graph.levels, len(head))]
    for number, region in enumerate(head):
        found.append(Place(region, "head", head=number, heads=len(head), last=region.row == lasts[region.stage]))
    for region in weighted:
        if region.level:
            last = region.row == lasts[region.stage]
            found.append(Place(region, "head", index=region.row, heads=len(head), last=last, own_head=True))
    found += [
        Place(region, "head", index=region.row, heads=len(head), own_head=True, call=call.name)
        for call in graph.calls
        for region in call.graph.regions
        if _layers(region)
    ]
    return found


def _backbone(
    regions: Sequence[Region], layers: Mapping[str, int], levels: Mapping[str, str], heads: int
) -> Iterator[Place]:
    blocks = [number for number, region in enumerate(regions) if layers[region.name] > 1]
    first, last = (blocks[0], blocks[-1]) if blocks else (min(1, len(regions)), len(regions) - 1)
    groups = _groups(regions[first : last + 1])
    labels: dict[int, frozenset[str]] = {}
    for (group, _), region in zip(groups, regions[first : last + 1], strict=True):
        labels[group] = labels.get(group, frozenset()) | {region.label}
    after = groups[-1][0] + 1 if groups else 0
    segment = position = 0
    for row, region in enumerate(regions):
        taken = _taken(region, levels)
        split = next((part for part in taken if part), "")
        where = {"row": row, "segment": segment, "position": position, "split": split, "heads": heads}
        if row < first:
            yield Place(region, "stem", **where)  # type: ignore[arg-type]
        elif row <= last:
            group, index = groups[row - first]
            inside = labels[group]
            yield Place(region, "body", block=row - first, group=group, index=index, group_labels=inside, **where)  # type: ignore[arg-type]
        else:
            yield Place(region, "neck", block=row - first, group=after, index=row - last - 1, **where)  # type: ignore[arg-type]
        segment += len(taken)
        position = (1 if taken[-1] else 0) if taken else position + 1


def _taken(region: Region, levels: Mapping[str, str]) -> list[str]:
    """For every level that is taken from the row: the part inside it, or nothing where it is the row's own output."""
    inside = f"{region.name}."
    locals_ = [name.removeprefix(inside) for name in levels.values() if name.startswith(inside)]
    nodes = {node.name: number for number, node in enumerate(region.subgraph.nodes)}
    found: list[str] = []
    for local in sorted(dict.fromkeys(locals_), key=lambda name: nodes.get(name, 0)):
        if local == region.subgraph.result.name:
            found.append("")
        else:
            part = local.partition(".")[0]
            end = region.subgraph.last_under(part)
            found.append(part if end is not None and end.name == local else local)
    return found


def _layers(region: Region) -> int:
    """How many convolutions and linear layers a row has."""
    return sum(isinstance(node.op, ops.Conv | ops.Linear) for node in region.subgraph.nodes)


def _after_pool(regions: Sequence[Region]) -> set[str]:
    """The regions that see the image only through a global pool that is a row of its own."""
    values: set[str] = set()
    found: set[str] = set()
    for region in regions:
        is_pool = any(isinstance(node.op, ops.GlobalPool) for node in region.subgraph.nodes) and not _layers(region)
        if is_pool or any(name in values for name in region.inputs):
            values.update(region.full(node.name) for node in region.subgraph.nodes)
            found.add(region.name)
    return found


def _groups(blocks: Sequence[Region]) -> list[tuple[int, int]]:
    """Group and index of every block: a group ends with its stage, at a stride, or where the output widens.

    Widths are compared as written, since two of them may become one at a small `width_mult`. A row that states no
    width keeps its input's.
    """
    found = [(0, 0)] if blocks else []
    width = blocks[0].width if blocks else ""
    for before, region in pairwise(blocks):
        group, index = found[-1]
        same = before.stage == region.stage and not _strided(region) and region.width in ("", width)
        found.append((group, index + 1) if same else (group + 1, 0))
        width = region.width or width
    return found


def _strided(region: Region) -> bool:
    return any(node.op.stride > 1 for node in region.subgraph.nodes if isinstance(node.op, ops.Conv))
