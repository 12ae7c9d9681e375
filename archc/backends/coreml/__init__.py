"""The Core ML backend: `.mlpackage` files, written from the graph without torch, on any system."""

from archc.backends.coreml.backend import BACKEND

__all__ = ["BACKEND"]
