"""`.keras` files as checkpoints: what Keras saved of a network that archc built, for any backend's network."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from archc.ir.graph import SPEC
from archc.weights.copy import CopyReport, copy_weights
from archc.weights.error import refuse
from archc.weights.files import MODEL_FILES
from archc.weights.report import LoadReport, by_stage

SUFFIX = ".keras"


def named_by(source: object) -> Path | None:
    """The file, if a checkpoint is named by one of Keras's, or by a directory that holds one of archc's."""
    if not isinstance(source, str | PathLike):
        return None
    path = Path(fspath(source))
    inside = path / MODEL_FILES["keras"]
    if path.suffix != SUFFIX and inside.is_file() and not (path / MODEL_FILES["torch"]).is_file():
        return inside
    return path if path.suffix == SUFFIX else None


def spec_text(path: Path) -> str | None:
    """The spec that a file states, as YAML; None where Keras saved what archc did not build.

    Raises:
        WeightsError: it cannot be read, or is no file of Keras's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except OSError as error:
        raise refuse("weights-file", f"`{path}` cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError, NotImplementedError) as error:
        raise _damaged(path, str(error)) from None
    stated = config.get("config") if isinstance(config, dict) else None
    text = stated.get(SPEC) if isinstance(stated, dict) else None
    return text if isinstance(text, str) else None


def load_weights(model: Any, file: Path, partial: str | Sequence[str] | None = None) -> LoadReport:
    """Load a `.keras` file into a network that `archc.build` returned, of any backend.

    Raises:
        WeightsError: what cannot be read, or does not fit.
        ImportError: Keras is not installed.
    """
    from archc.backends import keras

    spec_text(file)  # what is no Keras file is told before Keras is asked
    try:
        saved = keras.load(file)
    except ValueError as error:
        raise _damaged(file, str(error)) from None
    report = copy_weights(saved, model, partial)
    return _report(file.name, report)


def _damaged(path: Path, why: str) -> Exception:
    return refuse("weights-file", f"`{path}` is no model that Keras can load: {why}")


def _report(file: str, copied: CopyReport) -> LoadReport:
    return LoadReport(
        file=file,
        source="archc",
        naming="a Keras model",
        detected=True,
        wrapper="",
        prefix="",
        stages=by_stage(copied.copied.items()),
        left=copied.left,
        skipped=(),
        pruned=(),
        uncounted=(),
        casts=(),
        warnings=(),
    )
