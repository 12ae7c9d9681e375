"""`.keras` files: Keras's own format, in which archc's networks state their spec."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from archc.backends.keras.runtime import keras


def save(model: Any, path: Path) -> None:
    """Write a model: beside the target, and in place only once all of it is there."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as beside:
        written = Path(beside) / path.name
        model.save(written)
        os.replace(written, path)


def load(path: Path) -> Any:
    """Read a model, for its weights. Code that a file may hold is not run (Keras's safe mode).

    Raises:
        ValueError: it is no Keras file, a damaged one, or has layers that are not known here.
    """
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a damaged file makes its readers stumble over
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ValueError((lines or [type(error).__name__])[0][:200]) from None
