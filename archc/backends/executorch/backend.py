"""ExecuTorch behind archc's protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from archc.backends import builder
from archc.backends.executorch.int8 import Int8Network
from archc.backends.executorch.lower import lower
from archc.backends.protocol import DEFAULT_FORM, Emitter, Form, check, raw
from archc.backends.traced import trace
from archc.document.diagnostics import Diagnostic
from archc.ir.graph import Graph
from archc.ir.ops import Op
from archc.ir.state import State

MOST = 32
"""The largest batch of a file that leaves the batch open. The runtime reserves memory for it, and touches what it
uses."""

_DTYPES = {"f32": torch.float32, "f16": torch.float16, "int8": torch.float32}


class ExecuTorch(Emitter):
    """`.pte` files with XNNPACK's kernels; of a detector, the plain network with the heads on its levels.

    With an open batch, a file takes up to `MOST` images at a time. It takes images of one size.
    """

    name = "executorch"
    suffix = ".pte"
    precisions = ("f32", "f16", "int8")

    def supports(self, op: Op) -> bool:
        """Whether torch has it: what XNNPACK lacks, ExecuTorch's portable kernels compute."""
        return builder("torch").supports(op)

    def covers(self, graph: Graph) -> Graph:
        """Without what makes boxes, and without what runs on proposals."""
        return raw(graph)

    def limits(self, graph: Graph) -> Iterator[Diagnostic]:
        """What torch cannot build cannot be exported."""
        yield from builder("torch").limits(raw(graph))

    def emit(self, graph: Graph, state: State, path: Path, form: Form = DEFAULT_FORM) -> None:
        """See `Emitter.emit`."""
        self.require(graph)
        check(state, graph)
        self.check_form(graph, form)
        plain, dtype = self.covers(graph), _DTYPES[form.precision]
        weights = {key: state[key] for key, _ in plain.tensors()}
        torch_backend = builder("torch")
        network = torch_backend.build(plain, dtype=dtype, state=weights).eval()
        if form.quantization is not None:
            network = Int8Network(network, torch_backend.operations(network), plain, form.quantization)
        program = trace(network, plain, dtype=dtype, batch=form.batch, most=MOST)
        path.write_bytes(lower(program, tuple(plain.outputs), form.batch, form.metadata))


BACKEND = ExecuTorch()
"""Graph to `.pte`."""
