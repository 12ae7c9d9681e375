"""The table from activation to operations of MIL, Core ML's language of programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from archc.backends.coreml.library import mb


def _hardswish(x: Any) -> Any:
    return mb.mul(x=x, y=mb.sigmoid_hard(x=x, alpha=1 / 6, beta=0.5))


def _mish(x: Any) -> Any:
    return mb.mul(x=x, y=mb.tanh(x=mb.softplus(x=x)))


ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "relu": lambda x: mb.relu(x=x),
    "relu6": lambda x: mb.relu6(x=x),
    "hardswish": _hardswish,
    "hardsigmoid": lambda x: mb.sigmoid_hard(x=x, alpha=1 / 6, beta=0.5),
    "sigmoid": lambda x: mb.sigmoid(x=x),
    "silu": lambda x: mb.silu(x=x),
    "gelu": lambda x: mb.gelu(x=x, mode="EXACT"),
    "tanh": lambda x: mb.tanh(x=x),
    "leaky_relu": lambda x: mb.leaky_relu(x=x, alpha=0.01),
    "elu": lambda x: mb.elu(x=x, alpha=1.0),
    "mish": _mish,
}
"""How every activation is written: torch's functions with their default settings."""
