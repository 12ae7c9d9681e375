"""A graph as text, one operation a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from archc.ir.graph import Graph
from archc.ir.ops import Op, show


def text(graph: Graph) -> str:
    """The graph, readable and complete: name, operation, inputs, attributes that differ from the default, shape."""
    lines = [f"graph {graph.name}", *_lines(graph)]
    for call in graph.calls:
        lines += [f"call {call.name} on {call.on} × {call.times}{' again' if call.again else ''}", *_lines(call.graph)]
    return "\n".join(lines)


def _lines(graph: Graph) -> Iterator[str]:
    width = max(len(node.name) for node in graph.nodes)
    for node in graph.nodes:
        call = f"{node.op.kind}({', '.join(node.inputs)}){_attributes(node.op)}"
        yield f"  {node.name:<{width}} = {call}  -> {show(node.shape)}"
    yield from (f"  return {key} = {name}" for key, name in graph.outputs.items())


def _attributes(op: Op) -> str:
    parts = []
    for field in fields(op):
        value = getattr(op, field.name)
        if value != field.default:
            parts.append(f"{field.name}={show(value) if isinstance(value, tuple) else value}")
    return f" {{{', '.join(parts)}}}" if parts else ""
