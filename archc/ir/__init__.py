"""The intermediate representation: a flat graph of primitive operations with shape and cost rules."""

from archc.ir.graph import Builder, Graph, Node
from archc.ir.ops import Op, Shape, ShapeError
from archc.ir.verify import InvalidGraphError, verify, verify_subgraph

__all__ = ["Builder", "Graph", "InvalidGraphError", "Node", "Op", "Shape", "ShapeError", "verify", "verify_subgraph"]
