"""Weights into safetensors files: from a network, or from a State and its graph, which needs no network."""

from __future__ import annotations

import os
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from archc.ir.graph import Graph
from archc.ir.state import Array, State, problems
from archc.transforms.provenance import statement
from archc.weights.carrying.network import Network
from archc.weights.carrying.state import named_slots, to_tensors
from archc.weights.carrying.write import write
from archc.weights.checkpoint import NAMES, VERSION
from archc.weights.error import WeightsError, refuse
from archc.weights.naming.schemes import ARCHC

SUFFIX = ".safetensors"


def save_weights(
    model: Any, path: str | PathLike[str], names: str = ARCHC, *, overwrite: bool = False
) -> tuple[str, ...]:
    """Write a network's weights; see `archc.save_weights`. Returns the names in the file."""
    target = _target(path, overwrite)
    network = Network.open(model)
    return _write(named(model, names), network.graph, names, target, overwrite)


def save_state(
    state: State, graph: Graph, path: str | PathLike[str], names: str = ARCHC, *, overwrite: bool = False
) -> tuple[str, ...]:
    """Write the weights of a graph; see `archc.weights.save_state`. Returns the names in the file."""
    target = _target(path, overwrite)
    if wrong := problems(state, graph):
        message = f"the weights do not fit `{graph.name}`"
        raise refuse("weights-mismatch", message, notes=tuple(wrong[:8]))
    return _write(to_tensors(state, graph, names), graph, names, target, overwrite)


def named(model: Any, names: str = ARCHC) -> dict[str, Array]:
    """A network's weights under a library's names, in its layouts.

    Raises:
        WeightsError: the library has no names for this network, or the network is not what its spec says.
    """
    network = Network.open(model)
    named_slots(network.graph, names)  # which fails before anything is read
    network.check()
    return to_tensors(network.read(), network.graph, names)


def _target(path: str | PathLike[str], overwrite: bool) -> Path:
    target = Path(fspath(path))
    if target.suffix != SUFFIX:
        message = f"`{target}` does not end in `{SUFFIX}`, the only format that archc writes"
        raise refuse("weights-file", message, help=f"`{target.with_suffix(SUFFIX)}`" if target.name else "")
    if not overwrite and os.path.lexists(target):
        raise _exists(target)
    return target


def _exists(target: Path) -> WeightsError:
    return refuse("weights-exists", f"`{target}` exists already", help="`--force`, in Python `overwrite=True`")


def _write(tensors: dict[str, Array], graph: Graph, names: str, target: Path, overwrite: bool) -> tuple[str, ...]:
    import archc

    metadata = {"format": "pt", VERSION: archc.__version__, NAMES: names, **statement(graph)}
    try:
        write(tensors, metadata, target, overwrite=overwrite)
    except FileExistsError:  # it appeared in the meantime
        raise _exists(target) from None
    return tuple(tensors)
