"""`archc.compile`: what runs a network fastest inside PyTorch, on the CPU.

`torch.compile` with constant weights (inductor's freezing) lets oneDNN put each weight into the layout that it likes
best, once. Images are channels last. Freezing was chosen by measurement.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler

from archc.backends.torch.build import build
from archc.backends.torch.parts import plan
from archc.ir.graph import Graph
from archc.ir.state import State

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}

_OPTIONS: dict[str, Any] = {"freezing": True}
"""Settings of inductor's for this network only."""


class Compiled(nn.Module):
    """A network for inference. Images and results are 32-bit floats, whatever it computes in.

    torch compiles it when it is first called, and again for each further shape of its input.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype
        self._run = torch.compile(self._compute, dynamic=False, options=_OPTIONS)
        super().train(False)

    def forward(self, image: Tensor) -> Any:
        """[B, C, H, W], floats or pixels, to what the network returns. No gradients are kept."""
        with torch.no_grad():  # freezing is for this mode only
            return self._run(image)

    def _compute(self, image: Tensor) -> Any:
        image = image.to(memory_format=torch.channels_last)
        found = self.network(image.to(self.dtype) if image.is_floating_point() else image)
        if isinstance(found, Tensor):
            return found.float()
        return {name: value.float() for name, value in found.items()}

    def train(self, mode: bool = True) -> Compiled:
        """It is in evaluation mode, and stays there.

        Raises:
            ValueError: `mode` asks for training.
        """
        if mode:
            raise ValueError("a compiled network is for inference: train the one that it was made from")
        return super().train(False)


def compiled(graph: Graph, state: State, precision: Literal["f32", "bf16"]) -> Compiled:
    """Compile a network, transforms and all done before; see `archc.compile`."""
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        raise RuntimeError(
            "torch.compile needs a C++ compiler, and finds none: install g++ or clang, or name one in `CXX`"
        ) from None
    dtype = DTYPES[precision]
    network = build(plan(graph), dtype=dtype, state=state).eval().requires_grad_(False)
    return Compiled(network.to(memory_format=torch.channels_last), dtype)
