"""What `torch.save` wrote. Nothing in a file is run: torch reads tensors and plain values, and refuses the rest."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

from archc.extras import require
from archc.weights.error import WeightsError, refuse


def read(path: Path, again: str) -> Any:
    """The file's content: whatever was saved.

    Raises:
        WeightsError: the file is damaged, or holds more than tensors and plain values.
        MissingExtraError: torch is not installed.
    """
    torch = require("torch", "torch")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on old formats
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken archive makes torch raise
        raise _refused(path, error, again) from None


def _refused(path: Path, error: Exception, again: str) -> WeightsError:
    text = str(error)
    if "TorchScript" in text:
        message = f"`{path}` is a TorchScript program, not a checkpoint; it is refused"
        return refuse("weights-file", message, help="save the `state_dict()` of what it was made from")
    if isinstance(error, pickle.UnpicklingError) and (asked := _asks_for(text)):
        return refuse(
            "weights-file",
            f"`{path}` holds more than tensors, and loading it could run code; it is refused",
            help="where you trust it, load it with torch yourself and save its `state_dict()`",
            notes=(asked,),
        )
    if "Unsupported operand" in text:
        message = f"`{path}` is damaged, or pickled by another program than `torch.save`: {_telling(error)}"
        return refuse("weights-file", message, help=f"{again}; or load it yourself and save it with `torch.save`")
    return refuse("weights-file", f"`{path}` is a damaged checkpoint: {_telling(error)}", help=again)


_CODE = (
    r"Unsupported global: GLOBAL ([A-Za-z_][\w.]*) was not",
    r"unsupported GLOBAL ([A-Za-z_][\w.]*) whose module",
    r"Trying to call reduce for unrecognized function ([^\n]*)",
    r"Can only (?:create new|build|SETITEM)[^\n]*got ([^\n]*)",
    r"allowlist[^\n]*got ([^\n]*)",
)


def _asks_for(text: str) -> str:
    """What a pickle would import or call beside tensors; empty if it is no more than damaged."""
    for pattern in _CODE:
        if found := re.search(pattern, text):
            return f"it asks for `{found.group(1)[:100]}`"
    return ""


def _telling(error: Exception) -> str:
    """The telling line of torch's long messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "WeightsUnpickler error" in line]
    return ((telling or lines or [type(error).__name__])[0])[:200]
