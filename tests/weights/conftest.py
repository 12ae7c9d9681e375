"""Peers without their numbers, for what is decided by names and shapes alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from archc.weights.carrying import save


def shapes_of(make: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """A peer's state dict on the meta device."""
    with torch.device("meta"):
        return make().state_dict()


def named(model: nn.Module, names: str) -> dict[str, Tensor]:
    """A module's weights under a library's names, as torch takes them."""
    return {name: torch.from_numpy(value) for name, value in save.named(model, names).items()}
