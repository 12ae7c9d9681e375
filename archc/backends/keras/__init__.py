"""The Keras 3 backend: a graph as a functional `keras.Model`, channels last, on Keras's torch or JAX backend."""

from archc.backends.keras.runtime import KerasMissingError  # first: it says what is missing

# isort: split
from archc.backends.keras.backend import BACKEND
from archc.backends.keras.build import build
from archc.backends.keras.layers import RULES, Rule, Site
from archc.backends.keras.layouts import Layout
from archc.backends.keras.run import NoDeviceError, on_device, run
from archc.backends.keras.storage import load, save

__all__ = [
    "BACKEND",
    "RULES",
    "KerasMissingError",
    "Layout",
    "NoDeviceError",
    "Rule",
    "Site",
    "build",
    "load",
    "on_device",
    "run",
    "save",
]
