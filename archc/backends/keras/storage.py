"""`.keras` files: Keras's own format, in which archc's networks state their spec.

Keras writes three things into a file that differ from one run to the next: the time of saving, into the metadata and
into the archive's directory, and the memory addresses of the objects that the configuration refers to more than once
(`shared_object_id`). `save` replaces them by fixed ones, so that equal models give equal bytes. Keras reads the time
only to print it, and of the addresses it asks only which are equal.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from archc.backends.keras.runtime import keras
from archc.files import replacing

_CONFIGURATION, _METADATA = "config.json", "metadata.json"
_SHARED = "shared_object_id"
_SAVED = "1980-01-01@00:00:00"
"""The time of saving: the first that a ZIP archive can state, in Keras's notation."""


def save(model: Any, path: Path, *, overwrite: bool = True) -> None:
    """Write a model. Equal models give equal files.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.
        OSError: the file cannot be written.
    """
    with replacing(path, overwrite=overwrite) as staged:
        raw = staged.with_name("raw.keras" if staged.name != "raw.keras" else "unnormalised.keras")
        model.save(raw)
        _normalise(raw, staged)


def _normalise(source: Path, target: Path) -> None:
    """Copy an archive without what depends on the run."""
    rewritten: Mapping[str, Callable[[Any], Any]] = {_CONFIGURATION: _number_shared_objects, _METADATA: _set_time}
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            member = zipfile.ZipInfo(name)  # dated 1980-01-01, the first day that the format knows
            member.file_size = old.getinfo(name).file_size
            if name in rewritten:
                value = json.loads(old.read(name))
                new.writestr(member, json.dumps(rewritten[name](value)))
                continue
            with old.open(name) as content, new.open(member, "w") as copy:
                shutil.copyfileobj(content, copy)


def _set_time(metadata: Any) -> Any:
    return {**metadata, "date_saved": _SAVED}


def _number_shared_objects(value: Any, numbers: dict[int, int] | None = None) -> Any:
    """A configuration whose shared objects are numbered from 1 in their order, instead of by their addresses."""
    numbers = {} if numbers is None else numbers
    if isinstance(value, list):
        return [_number_shared_objects(item, numbers) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: numbers.setdefault(item, len(numbers) + 1) if key == _SHARED else _number_shared_objects(item, numbers)
        for key, item in value.items()
    }


def load(path: Path) -> Any:
    """Read a model, for its weights. Code that a file may hold is not run (Keras's safe mode).

    Raises:
        ValueError: the file is damaged or not Keras's, or has layers that are not known here.
    """
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a damaged file makes its readers stumble over
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ValueError((lines or [type(error).__name__])[0][:200]) from None
