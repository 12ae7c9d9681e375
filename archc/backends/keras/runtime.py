"""Which backend Keras runs on, settled before Keras is imported for the first time.

Keras reads `KERAS_BACKEND`, then its `keras.json`, and otherwise takes TensorFlow; it writes that default into a new
`keras.json` itself, so the file alone does not tell a choice from a default. A choice that can work is never changed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

from archc.extras import MissingExtraError

KNOWN = ("torch", "jax")
"""The backends of Keras that this one is tested on, the first preferred."""


class KerasMissingError(MissingExtraError):
    """Keras, or the library that it computes with, is not installed."""


def choose() -> None:
    """Set `KERAS_BACKEND` where nobody chose one that is installed.

    Raises:
        KerasMissingError: no Keras, or none of the libraries that it computes with.
    """
    if not _installed("keras"):
        raise KerasMissingError("this needs keras, which is not installed: pip install 'archc[keras]'", name="keras")
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or _installed(configured()):
        return
    usable = [name for name in KNOWN if _installed(name)]
    if not usable:
        raise KerasMissingError("Keras computes with PyTorch or JAX, and neither is installed: pip install torch")
    os.environ["KERAS_BACKEND"] = usable[0]


def configured() -> str:
    """What Keras would take by itself."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    try:
        chosen = json.loads((Path(home) / "keras.json").read_text(encoding="utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        chosen = None
    return chosen if isinstance(chosen, str) else "tensorflow"


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _unusable(why: str, help: str, name: str | None = None) -> KerasMissingError:
    chosen = os.environ.get("KERAS_BACKEND") or configured()
    help = f"{help}set KERAS_BACKEND to {' or '.join(KNOWN)}"
    return KerasMissingError(f"Keras was told to compute with {chosen}, but {why}: {help}", name=name)


choose()
try:
    import keras
except ModuleNotFoundError as error:
    raise _unusable(f"{error.name} is not installed", "install it, or ", error.name) from None
except ValueError:
    raise _unusable("it has no such backend", "") from None

__all__ = ["KerasMissingError", "choose", "configured", "keras"]
