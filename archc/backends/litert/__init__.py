"""The LiteRT backend: `.tflite` files, written from the graph without torch and without TensorFlow."""

from archc.backends.litert.backend import BACKEND

__all__ = ["BACKEND"]
