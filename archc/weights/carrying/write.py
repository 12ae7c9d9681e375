"""Write safetensors files that depend on their contents alone: equal tensors and metadata give equal bytes."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path

from archc.extras import require
from archc.files import replacing
from archc.ir.state import Array


def write(tensors: Mapping[str, Array], metadata: Mapping[str, str], target: Path, *, overwrite: bool = True) -> None:
    """Write tensors and metadata into a file.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.
        OSError: the file cannot be written.
        MissingExtraError: safetensors or NumPy is not installed.
    """
    numpy = require("numpy", "torch")
    library, writer = require("safetensors", "torch"), require("safetensors.numpy", "torch")
    with replacing(target, overwrite=overwrite) as staged:
        staged.touch()
        mode = stat.S_IMODE(staged.stat().st_mode)
        try:
            writer.save_file(
                {name: numpy.require(t, requirements="C") for name, t in tensors.items()}, staged, dict(metadata)
            )
        except library.SafetensorError as error:  # how safetensors reports every failure of the disk
            raise OSError(None, str(error), str(staged)) from None
        staged.chmod(mode)  # safetensors makes the file readable for its owner only
        _sort_metadata(staged)


def _sort_metadata(path: Path) -> None:
    """Sort a file's metadata by key: safetensors writes them in the order of a hash table, random in each process.

    The file starts with the header's length in 8 bytes, little-endian, and the header, which is JSON padded with
    spaces (https://github.com/huggingface/safetensors#format). Sorting moves pieces of it and changes no length.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        if "__metadata__" in header:
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(text) <= length, "Python writes JSON as safetensors does"
        file.seek(8)
        file.write(text.ljust(length))
