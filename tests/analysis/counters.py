"""Outside counts: torch's own counter on the meta device, where nothing is allocated and attention is seen."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def macs(module: nn.Module, height: int, width: int | None = None) -> int:
    """Half of what torch counts for one image. The module must be on the meta device."""
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        module.eval()(torch.empty(1, 3, height, width or height, device="meta"))
    total = counter.get_total_flops()
    assert total % 2 == 0
    return total // 2
