"""The backends' libraries, as commands need them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

from archc.extras import require

if TYPE_CHECKING:
    from archc.ir.graph import Graph


def keras() -> Any:
    """The Keras backend.

    Raises:
        MissingExtraError: Keras, or the library that it computes with, is not installed.
    """
    return importlib.import_module("archc.backends.keras")


def require_backend(name: str, graph: Graph) -> None:
    """Import a backend's library, to build this network with.

    Raises:
        click.UsageError: the backend cannot build such a network.
        MissingExtraError: its library is not installed.
    """
    from archc.api import check_backend

    try:
        check_backend(graph, name)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
    if name == "keras":
        keras()
        return
    require("torch", "torch")


def require_safetensors() -> None:
    """Import what writes safetensors files.

    Raises:
        MissingExtraError: torch, NumPy or safetensors is not installed.
    """
    for module in ("torch", "numpy", "safetensors.torch"):
        require(module, "torch")
