"""The PyTorch backend: a graph as an ordinary `torch.nn.Module`."""

from archc.backends.torch.build import GRAPH, build
from archc.backends.torch.emit import module_path
from archc.backends.torch.initialise import initialise

__all__ = ["GRAPH", "build", "initialise", "module_path"]
