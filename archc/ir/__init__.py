"""The intermediate representation: a graph of primitive operations with shape, weight and cost rules."""

from archc.ir.graph import Builder, Graph, Node, Region, Subgraph
from archc.ir.ops import Op, Shape, ShapeError
from archc.ir.verify import InvalidGraphError, verify, verify_subgraph

__all__ = [
    "Builder",
    "Graph",
    "InvalidGraphError",
    "Node",
    "Op",
    "Region",
    "Shape",
    "ShapeError",
    "Subgraph",
    "verify",
    "verify_subgraph",
]
