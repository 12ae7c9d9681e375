"""All transforms that make a trained network cheaper to run without changing what it computes."""

from __future__ import annotations

from archc.ir.graph import Graph
from archc.ir.state import State
from archc.transforms.drop_training_ops import drop_training_ops
from archc.transforms.fold_norms import fold_norms
from archc.transforms.reparameterise import reparameterise
from archc.transforms.rewrite import Result

STEPS = (drop_training_ops, reparameterise, fold_norms)
"""Branches merge together with their own norms, but not through dropout. The norm behind them is folded last."""


def inference(graph: Graph, state: State | None) -> Result:
    """What a network in evaluation mode needs, and no more: the steps of `STEPS`, in this order."""
    for step in STEPS:
        graph, state = step(graph, state)
    return graph, state
