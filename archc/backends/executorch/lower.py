"""From an exported program to the bytes of a `.pte` file: XNNPACK computes what it can, portable kernels the rest."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.export import ExportedProgram

from archc.backends.traced import quiet
from archc.extras import require

FACTS = "archc"
"""The method of a file that returns what it says about itself, as JSON: `outputs` are their names, `batch` the images
that it takes at a time, or null where up to the input's first size are taken, and `metadata` texts by key."""


def lower(program: ExportedProgram, outputs: Sequence[str], batch: int | None, metadata: Mapping[str, str]) -> bytes:
    """The content of a `.pte` file."""
    facts = {"outputs": list(outputs), "batch": batch, "metadata": dict(metadata)}
    with quiet():
        exir = require("executorch.exir", "executorch")
        partitioners = require("executorch.backends.xnnpack.partition.xnnpack_partitioner", "executorch")
        edge = exir.to_edge_transform_and_lower(
            _explicit_attention(program),
            partitioner=[partitioners.XnnpackPartitioner()],
            constant_methods={FACTS: json.dumps(facts, ensure_ascii=False)},
        )
        content: bytes = edge.to_executorch().buffer
    return content


def _explicit_attention(program: ExportedProgram) -> ExportedProgram:
    """The program with attention as products and a softmax, which XNNPACK computes; the fused operation it lacks."""
    fused = torch.ops.aten.scaled_dot_product_attention.default
    if all(node.target is not fused for node in program.graph.nodes):
        return program
    explicit: ExportedProgram = program.run_decompositions({fused: _attention})
    return explicit


def _attention(
    query: Tensor, key: Tensor, value: Tensor, *_: object, scale: float | None = None, **__: object
) -> Tensor:
    """[B, heads, N, D] each to the same. Networks of archc's have neither a mask nor, in evaluation mode, dropout."""
    batch, heads, length, channels = query.shape
    query, key, value = (t.reshape(batch * heads, length, channels) for t in (query, key, value))
    scores = torch.bmm(query * (scale or 1 / math.sqrt(channels)), key.transpose(1, 2))
    return torch.bmm(torch.softmax(scores, -1), value).reshape(batch, heads, length, channels)
