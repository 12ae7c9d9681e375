"""The Keras 3 backend: a graph as a functional `keras.Model`, channels last, on Keras's torch or JAX backend."""

from archc.backends.keras.runtime import KerasMissingError  # first: it says what is missing

# isort: split
from archc.backends.keras.build import build
from archc.backends.keras.layers import activations, supported
from archc.backends.keras.run import NoDeviceError, on_device, run
from archc.backends.keras.storage import load, save
from archc.backends.keras.tensors import fitting, read, skipped, write

__all__ = [
    "KerasMissingError",
    "NoDeviceError",
    "activations",
    "build",
    "fitting",
    "load",
    "on_device",
    "read",
    "run",
    "save",
    "skipped",
    "supported",
    "write",
]
