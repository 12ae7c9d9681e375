"""The table from activation to ONNX's operators: torch's functions with their default settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from archc.backends.onnx.step import Step


def _one(kind: str, **attributes: Any) -> Callable[[Step], str]:
    return lambda step: step.make(kind, step.x, **attributes)


ACTIVATIONS: Mapping[str, Callable[[Step], str]] = {
    "relu": _one("Relu"),
    "relu6": lambda step: step.make("Clip", step.x, step.number(0), step.number(6)),
    "hardswish": _one("HardSwish"),
    "hardsigmoid": _one("HardSigmoid", alpha=1 / 6, beta=0.5),
    "sigmoid": _one("Sigmoid"),
    "silu": lambda step: step.make("Mul", step.x, step.add("Sigmoid", step.x)),
    "gelu": _one("Gelu", approximate="none"),
    "tanh": _one("Tanh"),
    "leaky_relu": _one("LeakyRelu", alpha=0.01),
    "elu": _one("Elu", alpha=1.0),
    "mish": _one("Mish"),
}
