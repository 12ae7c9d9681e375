"""What compiles but is probably not meant, where only the passes' result and the shapes show it."""

from __future__ import annotations

from collections.abc import Iterator

from archc.document.diagnostics import Diagnostic
from archc.ir import ops
from archc.ir.graph import Graph, Node, Region
from archc.language.row import Row
from archc.language.schema import Spec


def lint(written: Spec, rewritten: Spec, graph: Graph) -> Iterator[Diagnostic]:
    """Warnings about a network: `written` is its spec, `rewritten` the same after all passes."""
    yield from _fixed_sizes(written, rewritten, graph)
    yield from _scaled_classes(written, rewritten)


def _fixed_sizes(written: Spec, rewritten: Spec, graph: Graph) -> Iterator[Diagnostic]:
    """A warning for every row that flattens a feature map whose size follows from the input's.

    Rows without a column `flatten` decide by themselves, and are left alone.
    """
    for region in graph.regions:
        row = rewritten.stages[region.stage][region.row]
        if row.__dict__.get("flatten", False) is not None:
            continue
        for node in region.subgraph.nodes:
            if not isinstance(node.op, ops.Flatten) or not _follows_input(graph, _source(region, node)):
                continue
            flattened = graph.shapes()[_source(region, node)]
            yield Diagnostic(
                "fixed-size",
                f"row `{region.name}` ({row.block}) flattens {ops.show(flattened)}, which ties the network to the "
                f"input size {ops.show(graph.input.shape[1:])}",
                written.span("stages", *row.at),
                help="put a `{block: pool}` row before it, or write `flatten: true` if this is meant",
                severity="warning",
            )


def _follows_input(graph: Graph, name: str) -> bool:
    """Whether the height and width of a value, or of what was flattened to it, follow from the input's."""
    results = {region.full(region.subgraph.result.name): (region, region.subgraph.result) for region in graph.regions}
    while name != graph.input.name:
        if name not in results:  # inside a row
            results |= {
                region.full(node.name): (region, node) for region in graph.regions for node in region.subgraph.nodes
            }
        region, node = results[name]
        if isinstance(node.op, ops.GlobalPool):
            return False
        name = _source(region, node)
    return True


def _source(region: Region, node: Node) -> str:
    """The full name of the input that an operation has its height and width from."""
    name = node.inputs[1] if isinstance(node.op, ops.Resize) else node.inputs[0]
    placeholders = [placeholder.name for placeholder in region.subgraph.placeholders]
    return region.inputs[placeholders.index(name)] if name in placeholders else region.full(name)


def _scaled_classes(written: Spec, rewritten: Spec) -> Iterator[Diagnostic]:
    """A warning for every width that is written as `${num_classes}` and that a multiplier changes."""
    if written.width_mult == 1.0 and not written.reduced_tail:
        return
    for stage, index, row in written.rows():
        if row.scale == "fixed" or written.num_classes not in row.__dict__.values():
            continue
        for name, _ in row.channel_fields():
            classes = row.__dict__.get(name) == written.num_classes
            if not classes or "num_classes" not in written.text("stages", stage, index, name):
                continue
            widths = {_width(other, name) for _, _, other in rewritten.rows() if other.at == row.at}
            for width in sorted(widths - {written.num_classes}):
                by = "width_mult" if written.width_mult != 1.0 else "reduced_tail"
                yield Diagnostic(
                    "scaled-classes",
                    f"`{name}` is {width:,}, but there are {written.num_classes:,} classes: `{by}` scales it",
                    written.span("stages", stage, index, name),
                    help="write `scale: fixed` in this row",
                    severity="warning",
                )


def _width(row: Row, name: str) -> int:
    width = row.__dict__[name]
    assert isinstance(width, int)  # what was a count is one after all passes
    return width
