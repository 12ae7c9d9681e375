"""`.keras` files as checkpoints: what Keras saved of a network that archc built.

The file states its network, and Keras reads the weights into it. Before that the archive is checked here, because Keras
trusts it: that it does not inflate to more than it can honestly hold, that its arrays are stored in the file itself as
they are, and that they are floating-point numbers.
"""

from __future__ import annotations

import importlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from archc import backends
from archc.document.diagnostics import SpecError
from archc.extras import require
from archc.ir.graph import SPEC, TRANSFORMS, Graph
from archc.transforms.provenance import GRAPH, stated
from archc.weights.checkpoint import NAMES, VERSION, Checkpoint, tensor
from archc.weights.error import WeightsError, refuse
from archc.weights.naming.schemes import ARCHC

SUFFIX = ".keras"

_CONFIGURATION, _WEIGHTS = "config.json", "model.weights.h5"
_MOST_CONFIGURATION = 32 * 2**20
"""Bytes of a configuration; a network of 10,000 operations has about 10 million."""
_MOST_INFLATION = 20
"""How many times its size in the archive a member may have. Keras compresses nothing, and weights hardly shrink."""


def metadata(path: Path) -> Mapping[str, str]:
    """What the file states about its network; empty where Keras saved what archc did not build.

    Raises:
        WeightsError: it is no file of Keras's, or a damaged one.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.file_size > _MOST_INFLATION * max(member.compress_size, 2**10):
                    raise _damaged(path, f"`{member.filename}` inflates to {member.file_size:,} bytes")
            if archive.getinfo(_CONFIGURATION).file_size > _MOST_CONFIGURATION:
                raise _damaged(path, "its configuration is too large")
            config = json.loads(archive.read(_CONFIGURATION))
    except WeightsError:
        raise
    except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
        raise _damaged(path, str(error)) from None
    its = config.get("config") if isinstance(config, dict) else None
    return {
        key: its[key] for key in (SPEC, TRANSFORMS, GRAPH) if isinstance(its, dict) and isinstance(its.get(key), str)
    }


def read(path: Path, graph: Graph | None) -> Checkpoint:
    """The file's weights, under the keys of a State.

    A file that does not state its network is read as one of `graph`, if its layers have the names of that network's.

    Raises:
        WeightsError: it is no file of Keras's, a damaged one, one of another network than it states, or it holds what
            are no weights.
        OSError: it cannot be read.
        MissingExtraError: Keras is not installed.
    """
    about = metadata(path)
    _check_arrays(path)
    try:
        known = stated(about)
    except (SpecError, ValueError) as error:
        raise _damaged(path, f"what it states about its network cannot be used: {error}") from None
    backend, storage = backends.builder("keras"), importlib.import_module("archc.backends.keras.storage")
    try:
        model = storage.load(path)
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    graph = known or graph
    if graph is None:
        raise refuse("weights-file", f"`{path}` does not state its network, so its layers have no known names")
    its = backend.covers(graph)
    if changed := backend.changed(model, its):
        why = "which it states" if known else "and it states no other"
        raise refuse("weights-file", f"`{path}` is not of `{its.name}`, {why}: `{changed[0]}` differs")
    state = backend.read(model, its)
    tensors = {key: found for key, array in state.items() if (found := tensor(array)) is not None}
    return Checkpoint(tensors, path.name, {**about, VERSION: "", NAMES: ARCHC})


def _check_arrays(path: Path) -> None:
    """Check that the arrays are plain ones, so that reading them takes no more memory than the file has bytes."""
    h5py = require("h5py", "keras")
    try:
        with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read(_WEIGHTS)), "r") as file:
            for name, array in _arrays(h5py, file):
                if (kind := _kind(array)) and not _is_bookkeeping(name):
                    raise refuse(
                        "weights-dtype",
                        "the checkpoint holds numbers of the wrong kind",
                        notes=(f"`{name}` is {kind}",),
                        help="weights are floating-point numbers",
                    )
    except WeightsError:
        raise
    except Exception as error:  # whatever a damaged file makes h5py raise
        raise _damaged(path, " ".join(str(error).split())) from None


def _arrays(h5py: Any, group: Any, prefix: str = "", depth: int = 50) -> Iterator[tuple[str, Any]]:
    """Every array in a group, by its path.

    Raises:
        ValueError: a link, a compressed array, or one whose numbers are elsewhere.
    """
    if depth == 0:
        raise ValueError(f"`{prefix}` is too deep")
    for name in group:
        path = f"{prefix}/{name}" if prefix else name
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"`{path}` is a link")
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _arrays(h5py, item, path, depth - 1)
            continue
        if item.compression or item.external or item.is_virtual or item.nbytes > item.id.get_storage_size():
            raise ValueError(f"the numbers of `{path}` are not in the file as they are")
        yield path, item


def _kind(array: Any) -> str:
    """What an array's numbers are, if they are no floating-point ones."""
    if array.attrs.get("dtype") == "bfloat16" or array.dtype.kind == "f":
        return ""
    return str(array.dtype)


def _is_bookkeeping(path: str) -> bool:
    """Whether an array is no weight: an optimiser's, or the state of a random generator."""
    return path.startswith("optimizer/") or "seed_generator" in path


def _damaged(path: Path, why: str) -> WeightsError:
    return refuse("weights-file", f"`{path}` is no model that Keras can load: {why}")
