"""`.pt2` files: networks that `torch.export` has written down, for torch to run without archc."""

from __future__ import annotations

from pathlib import Path

import torch

from archc.backends.protocol import Form
from archc.backends.torch.build import build
from archc.backends.torch.parts import Plan
from archc.backends.traced import quiet, trace
from archc.ir import ops
from archc.ir.graph import Graph
from archc.ir.state import State

DTYPES = {"f32": torch.float32, "f16": torch.float16}

_BRANCHING = (ops.ResizeToMultiple, ops.Unfold, ops.Fold)
"""Operations whose code depends on the size: torch.export would write down what it does for one of them."""


def write(plan: Plan, state: State, path: Path, form: Form) -> None:
    """Export a network into a file; see `Emitter.emit`."""
    dtype = DTYPES[form.precision]
    module = build(plan, dtype=dtype, state=state).eval()
    program = trace(module, plan.graph, dtype=dtype, batch=form.batch, any_size=form.any_size)
    with quiet():
        torch.export.save(program, path, extra_files=dict(form.metadata))


def any_size(graph: Graph) -> bool:
    """Whether one program of torch.export's computes a network at every size, but for sizes that it refuses.

    It does not where the code branches on the size. TensorFlow's padding does, too: it can be written down for any
    size, but that takes minutes.
    """
    pooled: set[str] = set()
    for node in graph.nodes[1:]:
        if isinstance(node.op, ops.GlobalPool) or pooled.issuperset(node.inputs):
            pooled.add(node.name)  # of one size whatever the image's
        elif _of_one_size(node.op):
            return False
    return True


def _of_one_size(op: ops.Op) -> bool:
    padded = isinstance(op, ops.Conv | ops.Pool) and op.padding == "same"
    return padded or isinstance(op, (*_BRANCHING, ops.Flatten))
