"""The networks that compiled modules are held against, and how to give two modules the same weights."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d


def shake(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random normalisation weights and statistics, so that nothing agrees only because it is one or zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d | nn.LayerNorm | FrozenBatchNorm2d):
                layer.weight.uniform_(0.5, 1.5, generator=generator)
                layer.bias.normal_(0, 0.2, generator=generator)
            if isinstance(layer, nn.BatchNorm2d | FrozenBatchNorm2d):
                layer.running_mean.normal_(0, 0.2, generator=generator)
                layer.running_var.uniform_(0.5, 1.5, generator=generator)
    return module


def copy_in_order(source: nn.Module, target: nn.Module) -> None:
    """Give `target` the tensors of `source`, both in their order of definition; every tensor must find its place."""
    ours, theirs = target.state_dict(), source.state_dict()
    assert len(ours) == len(theirs)
    renamed = {}
    for (name, value), (peer_name, peer) in zip(ours.items(), theirs.items(), strict=True):
        assert name.rsplit(".", 1)[1] == peer_name.rsplit(".", 1)[1], (name, peer_name)
        assert value.numel() == peer.numel(), (name, peer_name)
        renamed[name] = peer.reshape(value.shape)  # a 1×1 convolution of one pixel is a linear layer
    target.load_state_dict(renamed)


def gradients(module: nn.Module, image: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
    """The parameters' gradients after one training step's backward pass."""
    module.zero_grad()
    nn.functional.cross_entropy(module(image), labels).backward()
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
