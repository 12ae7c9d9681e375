"""Where each row of a network stands, in the terms that every library's names are made of.

Libraries number things: the n-th layer, the n-th block of the k-th group, the last of the classifier. These numbers
follow from the graph alone, so they hold for any width, depth and number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from archc import passes
from archc.blocks.lower import lower
from archc.ir import ops
from archc.ir.graph import Graph, Node, Region
from archc.weights.origin import spec_of

Part = Literal["stem", "body", "neck", "head"]


@dataclass(frozen=True)
class Place:
    """A row that owns weights, and where it stands.

    `stem` is what comes before the first block, `neck` the plain convolutions after the last, `head` all that follows
    the global pool, and the heads of tasks. `row` counts the rows before the head from 0, `block` the blocks; blocks of
    one stage with equal output channels are a group: `group` and `index` count the groups and the blocks in them, the
    neck going on where the body stops; `head` and `heads` are the number and the count of the head's rows. The rows of
    what a detector calls are heads, too: `call` is its name, and `index` counts the rows of a stage there.
    """

    region: Region
    part: Part
    row: int = 0
    block: int = 0
    group: int = 0
    index: int = 0
    head: int = 0
    heads: int = 0
    group_labels: frozenset[str] = frozenset()
    call: str = ""

    @property
    def row_name(self) -> str:
        """The row by its stage and number, below the name of what is called."""
        return f"{self.call}.{self.region.name}" if self.call else self.region.name

    @property
    def level(self) -> int:
        """The number that the called network's name ends in."""
        last = self.call.rpartition(".")[2]
        return int(last) if last.isdecimal() else 0


def whole(graph: Graph) -> Graph:
    """The network without pruning: a backbone's checkpoint has the names that it has in the classifier."""
    spec = spec_of(graph)
    if spec is None or spec.outputs is None:
        return graph
    return replace(lower(spec.replace(detector=None), prune=False), calls=graph.calls)


def row_names(graph: Graph) -> list[str]:
    """Every row in order, those of what a detector calls below its name."""
    own = [region.name for region in graph.regions]
    called = [f"{call.name}.{region.name}" for call in graph.calls if not call.again for region in call.graph.regions]
    return own + called


def places(graph: Graph) -> list[Place]:
    """The rows of a `whole` graph that own weights, in order."""
    weighted = [region for region in graph.regions if _layers(region)]
    pooled = _after_pool(graph)
    head = [region for region in weighted if region.name in pooled or region.is_head]
    backbone = [region for region in weighted if region not in head]
    blocks = [number for number, region in enumerate(backbone) if len(_layers(region)) > 1]
    first, last = (blocks[0], blocks[-1]) if blocks else (min(1, len(backbone)), len(backbone) - 1)
    groups = _groups(backbone[first : last + 1], _written_widths(graph))
    labels: dict[int, frozenset[str]] = {}
    for (group, _), region in zip(groups, backbone[first : last + 1], strict=True):
        labels[group] = labels.get(group, frozenset()) | {region.label}
    after = groups[-1][0] + 1 if groups else 0
    found: list[Place] = []
    for row, region in enumerate(backbone):
        if row < first:
            found.append(Place(region, "stem", row=row, heads=len(head)))
        elif row <= last:
            group, index = groups[row - first]
            inside = labels[group]
            found.append(Place(region, "body", row, row - first, group, index, heads=len(head), group_labels=inside))
        else:
            found.append(Place(region, "neck", row, row - first, after, row - last - 1, heads=len(head)))
    found += [Place(region, "head", head=number, heads=len(head)) for number, region in enumerate(head)]
    return [*found, *_called(graph, len(head))]


def _called(graph: Graph, heads: int) -> Iterator[Place]:
    """The rows of what a detector calls, each once."""
    for call in graph.calls:
        for region in () if call.again else call.graph.regions:
            if _layers(region):
                index = int(region.name.rpartition(".")[2])
                yield Place(region, "head", index=index, heads=heads, call=call.name)


def _layers(region: Region) -> list[Node]:
    return [node for node in region.subgraph.nodes if isinstance(node.op, ops.Conv | ops.Linear)]


def _after_pool(graph: Graph) -> set[str]:
    """The regions that see the image only through a global pool that is a row of its own."""
    values: set[str] = set()
    regions: set[str] = set()
    for region in graph.regions:
        is_pool = any(isinstance(node.op, ops.GlobalPool) for node in region.subgraph.nodes) and not _layers(region)
        if is_pool or any(name in values for name in region.inputs):
            values.update(region.full(node.name) for node in region.subgraph.nodes)
            regions.add(region.name)
    return regions


def _written_widths(graph: Graph) -> dict[str, object]:
    """Every row's output channels as written: at a small `width_mult`, two of them may become one."""
    spec = spec_of(graph)
    if spec is None:
        return {region.name: region.subgraph.result.shape.channels for region in graph.regions}
    rows = passes.run(spec, after="repeat").rows()
    return {f"{stage}.{index}": getattr(row, "out", None) for stage, index, row in rows}


def _groups(blocks: Sequence[Region], widths: Mapping[str, object]) -> list[tuple[int, int]]:
    """Group and index of every block: a group ends with its stage, at a stride, or where the output widens.

    A row that states no width keeps its input's.
    """
    found = [(0, 0)] if blocks else []
    width = widths[blocks[0].name] if blocks else None
    for before, region in pairwise(blocks):
        group, index = found[-1]
        stated = widths[region.name]
        same = _stage(before) == _stage(region) and not _strided(region) and stated in (None, width)
        found.append((group, index + 1) if same else (group + 1, 0))
        width = width if stated is None else stated
    return found


def _stage(region: Region) -> str:
    return region.name.partition(".")[0]


def _strided(region: Region) -> bool:
    return any(node.op.stride > 1 for node in region.subgraph.nodes if isinstance(node.op, ops.Conv))
