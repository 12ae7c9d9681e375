"""Random weights with outputs that vary; an untrained network gives one class everywhere."""

from __future__ import annotations

import torch
from torch import nn


def calibrate(model: nn.Module, pictures: torch.Tensor, classes: int = 21) -> None:
    """Give a segmentation network the statistics of prepared images, and scores that differ from place to place."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of what it sees, rather than one step towards it
    with torch.no_grad():
        model.train()(pictures)
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and module.out_channels == classes:
                module.weight.mul_(100)
                assert module.bias is not None
                module.bias.zero_()
    model.eval()
