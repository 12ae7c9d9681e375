"""What a rule works with: one operation of the graph, and what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from archc.backends.coreml.library import mb
from archc.document.diagnostics import fail
from archc.ir import ops
from archc.ir.graph import Node
from archc.ir.state import Array

Var = Any
"""A value of a MIL program. Images are [batch, C, H, W], vectors [batch, C], tokens [batch·positions, N, C], the batch
slowest.
"""


@dataclass
class Step:
    """One operation that is being written."""

    node: Node
    inputs: list[Var]
    """What it reads."""
    read: tuple[ops.Shape, ...]
    """The shapes of that in the graph."""
    weights: Mapping[str, Array]
    """Its weights by their local names."""
    owner: str
    """The name that they are kept under."""
    batch: int
    """Images at a time."""
    any_size: bool
    """Whether images of other sizes than the graph's come, too."""
    half: bool
    """Whether numbers have 16 bits."""
    constants: dict[str, Var]
    """The constants of the program so far by their full names."""

    def image(self, number: int) -> ops.Image:
        """The shape of an input that is an image."""
        shape = self.read[number]
        assert isinstance(shape, ops.Image)
        return shape

    def weight(self, name: str) -> Var:
        """A weight, as a constant of its own.

        Raises:
            SpecError: `unsupported-form`: it does not fit 16 bits.
        """
        return self.constant(name, self.weights[name])

    def constant(self, name: str, value: Any) -> Var:
        """A constant; `name` is that of a weight, or another.

        Raises:
            SpecError: `unsupported-form`: it does not fit 16 bits.
        """
        full = f"{self.owner}.{name}"
        if full in self.constants:
            return self.constants[full]  # two rows with the same weights
        numbers = np.ascontiguousarray(value, np.float32)
        largest = float(np.abs(numbers).max(initial=0.0))
        if self.half and largest > np.finfo(np.float16).max:
            message = f"`{full}` holds {largest:.4g}, which does not fit 16 bits"
            raise fail("unsupported-form", message, help="export in f32")
        self.constants[full] = mb.const(val=numbers, name=identifier(full))
        return self.constants[full]


def identifier(name: str) -> str:
    """A name as Core ML takes it: letters, digits and underscores, no digit first."""
    found = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
    return f"_{found}" if not found or found[0].isdigit() else found
