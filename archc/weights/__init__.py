"""Checkpoints in and out, in three rooms.

`naming` says which tensor is which, by name maps that are data. `explaining` says why a checkpoint does not fit, what
would fit, and what no shape shows. `carrying` takes weights from files to the State, to a backend's network, and back.

Importing this imports neither torch nor Keras.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from archc.weights.error import WeightsError, WeightsWarning

if TYPE_CHECKING:
    from archc.ir.graph import Graph
    from archc.ir.state import State
    from archc.weights.carrying.report import LoadReport


def register_map(source: str | PathLike[str] | Mapping[str, Any]) -> str:
    """Add a library's name map, for loading and saving; `archc.weights.naming.schemes` says what is in one.

    The maps that the environment variable `ARCHC_MAPS` names, separated as in `PATH`, are added without a call.

    Args:
        source: a YAML file, or its content. A map is data: nothing in it is run.

    Returns:
        The library's name, for `source=` and `names=`. A map of a library that was added before replaces the other.

    Raises:
        WeightsError: `weights-map`: it cannot be read, has mistakes, or has the name of a library that archc has.
    """
    from archc.weights.naming.schemes import register_map as register

    return register(source)


def read_state(
    path_or_state_dict: str | PathLike[str] | Mapping[str, Any], graph: Graph, source: str = "auto"
) -> tuple[State, LoadReport]:
    """Read a checkpoint as the State of a graph, in float32. No network is built.

    Only what `torch.save` wrote needs torch, and only `.keras` files need Keras.

    Args:
        path_or_state_dict: as for `archc.load_weights`.
        graph: the network; if transforms have rewritten it, the weights are rewritten in the same way.
        source: whose names the checkpoint has.

    Raises:
        WeightsError: what cannot be read, or does not fit.
    """
    from archc.weights.carrying.load import read_state as read

    return read(path_or_state_dict, graph, source)


def save_state(
    state: State, graph: Graph, path: str | PathLike[str], names: str = "archc", *, overwrite: bool = False
) -> tuple[str, ...]:
    """Write the State of a graph into a `.safetensors` file, which states the network. It needs no network, no torch.

    Args:
        state: all weights, by canonical name.
        graph: the network.
        path: where to; an existing file is left alone unless `overwrite`.
        names: whose names and layouts to write.
        overwrite: replace an existing file.

    Returns:
        The names in the file.

    Raises:
        WeightsError: the file exists, the weights do not fit the graph, or the library has no such network.
        OSError: the file cannot be written.
    """
    from archc.weights.carrying.save import save_state as save

    return save(state, graph, path, names, overwrite=overwrite)


__all__ = ["WeightsError", "WeightsWarning", "read_state", "register_map", "save_state"]
