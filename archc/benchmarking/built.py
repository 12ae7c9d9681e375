"""Networks that are built in torch: eager, as they were trained, or compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archc.analysis.latency import INFERENCE
from archc.backends import builder
from archc.exporting.network import Network
from archc.extras import require
from archc.runtimes.protocol import Port, Session

if TYPE_CHECKING:
    from archc.ir.state import Array


class Built(Session):
    """A network in torch, in evaluation mode: without a transform, or what `archc.compile` makes of it."""

    def __init__(self, network: Network, precision: str, threads: int, *, compiled: bool) -> None:
        torch = require("torch", "torch")
        torch.set_num_threads(threads)
        self._torch = torch
        self.input = Port("image", (None, *network.graph.input.shape), "float32")
        self.outputs = tuple(network.graph.outputs)
        self.metadata = {}
        self._single = network.graph.single
        self._dtype = torch.float32
        if compiled:
            self.module = _compiled(network, precision)
        else:
            self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            built = builder("torch").build(network.graph, state=network.state)
            self.module = built.eval().requires_grad_(False).to(self._dtype)

    def prepare(self, images: Array) -> Any:
        """See `Session.prepare`."""
        return self._torch.from_numpy(images).to(self._dtype)

    def execute(self, prepared: Any) -> Any:
        """See `Session.execute`."""
        with self._torch.no_grad():
            return self.module(prepared)

    def results(self, raw: Any) -> dict[str, Array]:
        """See `Session.results`."""
        named = {self.outputs[0]: raw} if self._single else raw
        return {name: value.float().numpy() for name, value in named.items()}


def _compiled(network: Network, precision: str) -> Any:
    from archc.backends.torch.compiled import compiled

    folded = network.rewritten([] if INFERENCE in network.graph.transforms else [INFERENCE])
    return compiled(folded.graph, folded.state, "bf16" if precision == "bf16" else "f32")
