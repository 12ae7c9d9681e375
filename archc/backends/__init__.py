"""Backends: a graph made runnable by a library. One package per library; they never import each other.

Each has `build`, `supported` and `activations` for the graph, and `fitting`, `read`, `write` and `skipped` for a built
network's tensors in the IR's canonical layouts.
"""

from __future__ import annotations

import sys
from typing import Literal


def backend_of(model: object) -> Literal["torch", "keras"]:
    """Whose network this is. On its torch backend, a Keras model is a torch module as well."""
    keras = sys.modules.get("keras")
    return "keras" if keras is not None and isinstance(model, keras.Model) else "torch"
