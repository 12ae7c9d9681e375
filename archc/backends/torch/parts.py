"""The parts of a network that become modules of their own, and the names of its tensors in the state dict.

Most networks are one module. A detector is torchvision's class around several: the backbone up to the levels, the
heads on the levels, and the heads on proposals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from archc.backends.torch.emit import module_path
from archc.ir.graph import Graph, Region
from archc.ir.ops import Weight
from archc.language.detector import FasterRcnn, Ssd


class NotADetectorError(ValueError):
    """A graph whose heads and levels do not make the detector that its settings describe."""


@dataclass(frozen=True)
class Part:
    """Rows of the graph that become the module at `path`.

    Where `inside` names a row, the module is that row's own: its names leave out `inside`.
    """

    path: str
    graph: Graph
    inside: str = ""

    def names(self, prefix: str = "") -> Iterator[tuple[str, str]]:
        """The canonical name of every weight, with the call's `prefix`, and its name in the state dict."""
        for key, _ in self.graph.tensors():
            local = key.removeprefix(f"{self.inside}.") if self.inside else key
            yield f"{prefix}{key}", ".".join([*([self.path] if self.path else []), module_path(local)])


@dataclass(frozen=True)
class Parts:
    """A detector's parts: the backbone, the heads on levels (`heads`), and those on proposals (`calls`)."""

    backbone: Part
    heads: tuple[Part, ...]
    calls: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Plan:
    """How a graph becomes a module: a detector's parts, and the name of every weight in the state dict.

    `problem` says why the graph of a detector cannot become one; the names are then missing.
    """

    graph: Graph
    weights: Mapping[str, Weight]
    """Every weight by its canonical name, in the graph's order."""
    names: Mapping[str, str]
    """Its name in the state dict, by the canonical one."""
    parts: Parts | None = None
    problem: str = ""


def plan(graph: Graph) -> Plan:
    """The plan of a graph."""
    weights = dict(graph.tensors())
    if graph.detector is None:
        return Plan(graph, weights, {key: module_path(key) for key in weights})
    try:
        split = parts(graph)
    except NotADetectorError as error:
        return Plan(graph, weights, {}, problem=str(error))
    found = [name for part in (split.backbone, *split.heads) for name in part.names()]
    found += [name for part in split.calls for name in part.names(f"{graph.calls[0].name}.")]
    names = dict(found)
    if len(found) != len(names) or names.keys() != weights.keys():
        odd = min(weights.keys() ^ names.keys(), default=found[0][0])
        return Plan(graph, weights, {}, problem=f"`{odd}` belongs neither to the backbone nor to the head of one level")
    return Plan(graph, weights, {key: names[key] for key in weights}, split)


def paths(graph: Graph) -> Mapping[str, str]:
    """The state dict's name of every weight, by its canonical name, in the graph's order."""
    return plan(graph).names


def parts(graph: Graph) -> Parts:
    """Split the graph of a detector.

    Raises:
        NotADetectorError: its levels and outputs are not what such a detector has.
    """
    backbone = Part("backbone", _until(graph, graph.levels))
    if isinstance(graph.detector, FasterRcnn):
        return Parts(backbone, (_rpn(graph),), tuple(_proposals(graph)))
    assert isinstance(graph.detector, Ssd)
    return Parts(backbone, tuple(_ssd(graph, graph.detector)))


def limits(plan: Plan) -> Iterator[tuple[Region | None, str]]:
    """Why torch cannot run a network although it supports every operation, with the row that the reason is about."""
    graph = plan.graph
    for region in graph.regions:
        if region.shares and not _callable(region, graph.region[region.shares]):
            yield region, f"row `{region.name}` shares the weights of `{region.shares}`, but not its operations"
    if plan.problem:
        yield None, f"torchvision's detector cannot be made of `{graph.name}`: {plan.problem}"
    if graph.calls and graph.detector is None:
        yield None, f"`{graph.name}` has heads on proposals, but no detector that makes proposals"


def _callable(region: Region, owner: Region) -> bool:
    """Whether a row can call the module of the row whose weights it uses."""
    theirs = {node.name: (node.op, node.inputs) for node in owner.subgraph.nodes}
    same = all(theirs.get(node.name) == (node.op, node.inputs) for node in region.subgraph.nodes)
    return same and [region.inputs.index(n) for n in region.inputs] == [owner.inputs.index(n) for n in owner.inputs]


def _until(graph: Graph, outputs: Mapping[str, str]) -> Graph:
    """The graph that computes only these values."""
    live = set(outputs.values())
    kept: list[Region] = []
    for region in reversed(graph.regions):
        wanted = [node for node in region.subgraph.nodes if region.full(node.name) in live]
        if not wanted:
            continue
        subgraph = region.subgraph.pruned(wanted)
        kept.append(replace(region, subgraph=subgraph))
        used = {name for node in subgraph.nodes for name in node.inputs}
        pairs = zip(subgraph.placeholders, region.inputs, strict=True)
        live.update(name for placeholder, name in pairs if placeholder.name in used)
    stages = {region.stage for region in kept}
    return replace(
        graph,
        regions=tuple(reversed(kept)),
        stages={stage: label for stage, label in graph.stages.items() if stage in stages},
        outputs=dict(outputs),
        single=False,
        levels={},
        calls=(),
        detector=None,
        whole=(),
        before=None,
    )


def _rows(graph: Graph, name: str, regions: Iterable[Region], outputs: Mapping[str, str]) -> Graph:
    """A graph of some rows, which all read one value: its input."""
    kept = tuple(regions)
    (source,) = {value for region in kept for value in region.inputs}
    renamed = tuple(replace(region, inputs=(graph.input.name,) * len(region.inputs)) for region in kept)
    stages = {region.stage: graph.stages[region.stage] for region in kept}
    return replace(
        graph,
        name=name,
        input=graph.input._replace(shape=graph.shapes()[source]),
        regions=renamed,
        stages=stages,
        outputs=dict(outputs),
        single=len(outputs) == 1,
        levels={},
        calls=(),
        detector=None,
        whole=(),
        before=None,
    )


def _ssd(graph: Graph, detector: Ssd) -> Iterator[Part]:
    for kind in ("joint",) if detector.head.joint else ("classification", "regression"):
        for number, level in enumerate(graph.levels):
            region = _head(graph, f"{kind}_{level}", level)
            value = graph.outputs[f"{kind}_{level}"]
            rows = _rows(graph, region.label, [region], {kind: value})
            yield Part(f"head.{kind}_head.module_list.{number}", rows, region.name)


def _rpn(graph: Graph) -> Part:
    """The one module that all levels share."""
    first: Region | None = None
    for level in graph.levels:
        region = _head(graph, f"objectness_{level}", level)
        if _head(graph, f"deltas_{level}", level) != region:
            raise NotADetectorError(f"`objectness_{level}` and `deltas_{level}` come from different rows")
        if first is None:
            first = region
        elif region.shares != first.name:
            raise NotADetectorError(f"`{region.name}` does not share the weights of `{first.name}`: one head for all")
    assert first is not None
    level = next(iter(graph.levels))
    outputs = {kind: graph.outputs[f"{kind}_{level}"] for kind in ("objectness", "deltas")}
    return Part("rpn.head.level", _rows(graph, first.label, [first], outputs), first.name)


def _head(graph: Graph, output: str, level: str) -> Region:
    """The row that predicts an output from a level."""
    if output not in graph.outputs:
        raise NotADetectorError(f"there is no output `{output}`")
    region = region_of(graph, graph.outputs[output])
    if set(region.inputs) != {graph.levels[level]}:
        raise NotADetectorError(
            f"output `{output}` comes from `{region.name}`, which does not read level `{level}` alone"
        )
    return region


def region_of(graph: Graph, value: str) -> Region:
    """The row that a value comes from."""
    stage, row, *_ = value.split(".")
    return graph.region[f"{stage}.{row}"]


def _proposals(graph: Graph) -> Iterator[Part]:
    """The box head, then the predictions from what it gives."""
    if len(graph.calls) != 1:
        raise NotADetectorError("its heads on proposals are missing")
    heads = graph.calls[0].graph
    predictions = {kind: region_of(heads, heads.outputs[kind]) for kind in ("scores", "deltas")}
    (features,) = {value for region in predictions.values() for value in region.inputs}
    yield Part("roi_heads.box_head", replace(_until(heads, {"features": features}), name="box_head", single=True))
    for kind, region in predictions.items():
        rows = _rows(heads, region.label, [region], {kind: heads.outputs[kind]})
        yield Part(f"roi_heads.box_predictor.{kind}", rows, region.name)
