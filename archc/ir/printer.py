"""A graph as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from archc.ir.graph import Graph
from archc.ir.ops import Op, show


def summary(graph: Graph) -> str:
    """The graph in short: one line per row, with its inputs, its output's shape and its parameters."""
    lines = [_head(graph), f"  {graph.input.name}: {show(graph.input.shape)}"]
    for region in graph.regions:
        shape = show(region.subgraph.result.shape)
        params = f", {region.total.params:,} params" if region.total.params else ""
        lines.append(f"  {region.name}: {region.label}({', '.join(region.inputs)}) -> {shape}{params}")
    lines += [f"  return {key} = {name}" for key, name in graph.outputs.items()]
    for call in graph.calls:
        lines += [f"call {call.name} on {call.on} × {call.times}", *summary(call.graph).splitlines()[1:]]
    return "\n".join(lines)


def text(graph: Graph) -> str:
    """The graph, readable and complete: name, operation, inputs, attributes that differ from the default, shape."""
    lines = [_head(graph), *_lines(graph)]
    for call in graph.calls:
        lines += [f"call {call.name} on {call.on} × {call.times}", *_lines(call.graph)]
    return "\n".join(lines)


def _head(graph: Graph) -> str:
    return " ".join([f"graph {graph.name}", *([f"({', '.join(graph.transforms)})"] if graph.transforms else [])])


def _lines(graph: Graph) -> Iterator[str]:
    shared = {region.full(node.name): region.owner(node.name) for region in graph.regions if region.shares
              for node in region.subgraph.nodes if node.weights}  # fmt: skip
    width = max(len(node.name) for node in graph.nodes)
    for node in graph.nodes:
        call = f"{node.op.kind}({', '.join(node.inputs)}){_attributes(node.op)}"
        weights = f"  with the weights of {shared[node.name]}" if node.name in shared else ""
        yield f"  {node.name:<{width}} = {call}  -> {show(node.shape)}{weights}"
    yield from (f"  return {key} = {name}" for key, name in graph.outputs.items())


def _attributes(op: Op) -> str:
    parts = []
    for field in fields(op):
        value = getattr(op, field.name)
        if value != field.default:
            parts.append(f"{field.name}={show(value) if isinstance(value, tuple) else value}")
    return f" {{{', '.join(parts)}}}" if parts else ""
