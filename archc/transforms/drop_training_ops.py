"""Remove what acts only in training."""

from __future__ import annotations

from dataclasses import replace

from archc.ir.graph import Graph
from archc.ir.ops import Attention, Dropout, DropPath
from archc.ir.state import State
from archc.transforms.rewrite import Result, Rewriter, rewrite


def drop_training_ops(graph: Graph, state: State | None) -> Result:
    """Remove dropout and stochastic depth, which pass their input on in evaluation mode; attention's dropout, too.

    A row that has nothing left passes its input on.
    """
    return rewrite(graph, state, _drop)


def _drop(net: Rewriter) -> None:
    for node in net:
        if isinstance(node.op, Dropout | DropPath):
            net.bypass(node.name)
        elif isinstance(node.op, Attention) and node.op.dropout:
            net.replace(node.name, replace(node.op, dropout=0.0))
