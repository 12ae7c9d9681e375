"""The ONNX backend: `.onnx` files, written from the graph with the `onnx` package alone."""

from archc.backends.onnx.backend import BACKEND
from archc.backends.onnx.rules import RULES, Rule
from archc.backends.onnx.step import Step
from archc.backends.onnx.writer import Writer

__all__ = ["BACKEND", "RULES", "Rule", "Step", "Writer"]
