"""The backends' libraries, as commands need them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from archc.ir.graph import Graph


def keras() -> Any:
    """The Keras backend.

    Raises:
        click.UsageError: Keras, or what it computes with, is not installed; the message says what to do.
    """
    try:
        return importlib.import_module("archc.backends.keras")
    except ImportError as error:
        if (error.name or "archc").startswith("archc"):
            raise
        raise click.UsageError(str(error)) from None


def require_backend(name: str, graph: Graph) -> None:
    """Import a backend's library, to build this network with.

    Raises:
        click.UsageError: it is not installed, or cannot build such a network.
    """
    from archc.api import check_backend

    try:
        check_backend(graph, name)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
    if name == "keras":
        keras()
        return
    from archc.cli.counting import require

    require("torch", "torch")
