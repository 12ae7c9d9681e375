"""The table from activation to TFLite's operators, in float."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from archc.backends.litert.flat import Tensor
from archc.backends.litert.operators import ACTIVATIONS as FUSED
from archc.backends.litert.step import Step


def _one(kind: str, **options: Any) -> Callable[[Step, Tensor], Tensor]:
    return lambda step, x: step.make(kind, [x], x.shape, **options)


def _hardsigmoid(step: Step, x: Tensor) -> Tensor:
    return step.binary("MUL", step.binary("ADD", x, 3.0, FUSED["relu6"]), 1 / 6)


def _silu(step: Step, x: Tensor) -> Tensor:
    return step.make("MUL", [x, step.make("LOGISTIC", [x], x.shape)], x.shape)


def _mish(step: Step, x: Tensor) -> Tensor:
    # tanh(log(1 + e)) = n / (n + 2) with n = e·(e + 2) and e = exp(x). Beyond 20, that is 1 in 32 bits.
    e = step.make("EXP", [step.make("MINIMUM", [x, step.number(20.0)], x.shape)], x.shape)
    n = step.make("MUL", [e, step.binary("ADD", e, 2.0)], x.shape)
    return step.make("MUL", [x, step.make("DIV", [n, step.binary("ADD", n, 2.0)], x.shape)], x.shape)


ACTIVATIONS: Mapping[str, Callable[[Step, Tensor], Tensor]] = {
    "relu": _one("RELU"),
    "relu6": _one("RELU6"),
    "hardswish": _one("HARD_SWISH"),
    "hardsigmoid": _hardsigmoid,
    "sigmoid": _one("LOGISTIC"),
    "silu": _silu,
    "gelu": _one("GELU", approximate=False),
    "tanh": _one("TANH"),
    "leaky_relu": _one("LEAKY_RELU", alpha=0.01),
    "elu": _one("ELU"),
    "mish": _mish,
}
"""How every activation is written: torch's functions with their default settings."""
