"""The Keras 3 backend: a graph as a functional `keras.Model`, channels last, on Keras's torch or JAX backend."""

from archc.backends.keras.build import GRAPH, build
from archc.backends.keras.layers import activations, supported
from archc.backends.keras.runtime import KerasMissingError
from archc.backends.keras.tensors import fitting, read, skipped, write

__all__ = ["GRAPH", "KerasMissingError", "activations", "build", "fitting", "read", "skipped", "supported", "write"]
