"""The libraries that predictions need, imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any, Final

from archc.prediction.errors import MissingLibraryError

_NEEDED: Final = ("torch", "numpy", "PIL", "torchvision", "safetensors")


def check_libraries() -> None:
    """Import what every prediction needs.

    Raises:
        MissingLibraryError: one of them is not installed, or cannot be imported.
    """
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise _missing(name, error) from None


def keras_backend() -> Any:
    """Archc's Keras backend.

    Raises:
        MissingLibraryError: Keras, or the library that it computes with, is not installed.
    """
    try:
        return importlib.import_module("archc.backends.keras")
    except ImportError as error:
        if (error.name or "").startswith("archc"):
            raise
        raise MissingLibraryError(str(error), name=error.name) from None


def _missing(name: str, error: ImportError) -> MissingLibraryError:
    absent = (error.name or name).partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not absent:
        return MissingLibraryError(f"{name} is installed, but cannot be imported: {error}", name=name)
    package = {"PIL": "Pillow"}.get(absent, absent)
    message = f"this needs {package}, which is not installed: pip install 'archc[predict]'"
    return MissingLibraryError(message, name=absent)
