"""The PyTorch backend: a graph as an ordinary `torch.nn.Module`."""

from archc.backends.torch.backend import BACKEND
from archc.backends.torch.initialise import initialise
from archc.backends.torch.layers import EXPRESSIONS, RULES, uninitialised
from archc.backends.torch.parts import paths

__all__ = [
    "BACKEND",
    "EXPRESSIONS",
    "RULES",
    "initialise",
    "paths",
    "uninitialised",
]
