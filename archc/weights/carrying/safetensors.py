"""Safetensors files, read with NumPy alone.

A file is the header's length in 8 bytes, little-endian, the header in JSON, and the tensors' bytes
(https://github.com/huggingface/safetensors#format). The safetensors library checks it. NumPy has no bfloat16, so such
tensors are widened to float32 here, which changes no number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archc.extras import require
from archc.ir.state import Array
from archc.weights.checkpoint import Tensor
from archc.weights.error import refuse

_KINDS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "C64": "complex64",
}  # fmt: skip


def metadata(path: Path, again: str) -> Mapping[str, str]:
    """What a file says about itself.

    Raises:
        WeightsError, OSError, MissingExtraError: as `read`.
    """
    library = require("safetensors", "torch")
    require("numpy", "torch")
    try:
        with library.safe_open(path, framework="numpy") as file:  # which checks the header against the file
            return dict(file.metadata() or {})
    except (library.SafetensorError, json.JSONDecodeError, RuntimeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise refuse("weights-file", f"`{path}` is a damaged safetensors file: {reason}", help=again) from None


def read(path: Path, again: str) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """A file's tensors, in its order, and its metadata.

    Raises:
        WeightsError: the file is damaged; the help is `again`.
        OSError: it cannot be read.
        MissingExtraError: safetensors or NumPy is not installed.
    """
    numpy = require("numpy", "torch")
    about = metadata(path, again)
    content = numpy.memmap(path, numpy.uint8, mode="c")  # writable in memory, as torch wants it; the file never is
    start = 8 + int(content[:8].view("<u8")[0])
    header = json.loads(content[8:start].tobytes())
    found: dict[str, Tensor] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        found[name] = _tensor(numpy, entry, content[start + first : start + last])
    return found, about


def _tensor(numpy: Any, entry: Mapping[str, Any], content: Array) -> Tensor:
    kind, shape = _KINDS.get(entry["dtype"], entry["dtype"]), tuple(entry["shape"])

    def convert() -> Array:
        if kind == "bfloat16":
            wide: Array = content.view("<u2").astype(numpy.uint32) << 16
            floats: Array = wide.view(numpy.float32).reshape(shape)
            return floats
        array: Array = content.view(numpy.dtype(kind).newbyteorder("<")).reshape(shape)
        return array if array.flags.aligned else array.copy()

    return Tensor(shape, kind, convert)
