"""The backends' libraries, as commands need them."""

from __future__ import annotations

import importlib
from typing import Any

import click


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


def require_backend(name: str) -> None:
    """Import a backend's library.

    Raises:
        click.UsageError: it is not installed.
    """
    if name == "keras":
        keras()
        return
    from archc.cli.counting import require

    require("torch", "torch")
