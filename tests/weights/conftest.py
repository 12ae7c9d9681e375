"""Peers without their numbers, for what is decided by names and shapes alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def shapes_of(make: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """A peer's state dict on the meta device."""
    with torch.device("meta"):
        return make().state_dict()
