"""Weights as 16-bit floats."""

from __future__ import annotations

import numpy as np

from archc.backends.onnx.step import Step
from archc.document.diagnostics import fail
from archc.ir.state import Array


def half(step: Step, name: str, value: Array) -> str:
    """A weight as 16-bit floats.

    Raises:
        SpecError: `unsupported-form`: a number is too large for them.
    """
    with np.errstate(over="ignore"):
        made = value.astype(np.float16)
    if np.isinf(made).any() and np.isfinite(value).all():
        message = f"`{step.owner}.{name}` has numbers up to {np.abs(value).max():.3g}; 16-bit floats end at 65504"
        raise fail("unsupported-form", message, help="export it as `f32`, or fold its norms first")
    return step.writer.constant(made, f"{step.owner}.{name}")
