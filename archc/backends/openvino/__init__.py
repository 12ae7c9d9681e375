"""The OpenVINO backend: `.xml` files with their weights in a `.bin` beside them, made from ONNX."""

from archc.backends.openvino.backend import BACKEND

__all__ = ["BACKEND"]
