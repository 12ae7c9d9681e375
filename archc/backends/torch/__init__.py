"""The PyTorch backend: a graph as an ordinary `torch.nn.Module`."""

from archc.backends.torch.build import build
from archc.backends.torch.emit import module_path
from archc.backends.torch.initialise import initialise

__all__ = ["build", "initialise", "module_path"]
