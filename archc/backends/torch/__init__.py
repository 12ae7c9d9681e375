"""The PyTorch backend: a graph as an ordinary `torch.nn.Module`."""

from archc.backends.torch.build import assemble, build
from archc.backends.torch.emit import module_path
from archc.backends.torch.initialise import initialise
from archc.backends.torch.layers import activations, supported
from archc.backends.torch.tensors import fitting, read, skipped, write

__all__ = [
    "activations",
    "assemble",
    "build",
    "fitting",
    "initialise",
    "module_path",
    "read",
    "skipped",
    "supported",
    "write",
]
