"""A compiled module's weights into a file."""

from __future__ import annotations

import os
from os import PathLike, fspath
from pathlib import Path

from torch import Tensor, nn

from archc.backends import backend_of
from archc.backends.torch import build
from archc.ir.graph import SPEC, Graph
from archc.weights.copy import copy_weights
from archc.weights.error import WeightsError, refuse
from archc.weights.layout import split
from archc.weights.maps import ARCHC, Layout, of_library
from archc.weights.module import agree, key_of
from archc.weights.naming import Slot, slots
from archc.weights.origin import graph_of, spec_of, unwrapped
from archc.weights.read import NAMES, VERSION
from archc.weights.write import write

SUFFIX = ".safetensors"


def save_weights(
    model: nn.Module, path: str | PathLike[str], names: str = ARCHC, *, overwrite: bool = False
) -> tuple[str, ...]:
    """Write a module's weights; see `archc.save_weights`. Returns the names in the file."""
    target = Path(fspath(path))
    if target.suffix != SUFFIX:
        message = f"`{target}` does not end in `{SUFFIX}`, the only format that archc writes"
        raise refuse("weights-file", message, help=f"`{target.with_suffix(SUFFIX)}`")
    if not overwrite and os.path.lexists(target):
        raise _exists(target)
    tensors = named(model, names)
    graph = graph_of(unwrapped(model) if backend_of(model) == "torch" else model)
    try:
        write(tensors, _metadata(graph, names), target, overwrite=overwrite)
    except FileExistsError:  # it appeared in the meantime
        raise _exists(target) from None
    return tuple(tensors)


def _exists(target: Path) -> WeightsError:
    return refuse("weights-exists", f"`{target}` exists already", help="`--force`, in Python `overwrite=True`")


def named(model: nn.Module, names: str = ARCHC) -> dict[str, Tensor]:
    """A module's state dict under a library's names, in its layouts.

    Raises:
        WeightsError: the library has no names for this network, or the module is not what its spec says.
    """
    if backend_of(model) != "torch":
        model, other = build(graph_of(model), device="meta"), model
        copy_weights(other, model)
    module = unwrapped(model)
    graph = graph_of(module)
    found = [slot for slot in slots(graph, _layout(graph, names)) if not slot.pruned]
    agree(module, found)
    state = module.state_dict()
    if bad := next((name for name, value in state.items() if value.is_meta), ""):
        raise refuse("weights-network", f"there are no numbers in `{bad}`: the module is on the meta device")
    return {
        name: piece
        for slot in found
        for name, piece in zip(slot.names, split(state[key_of(slot)].detach().cpu(), slot.shapes), strict=True)
    }


def _layout(graph: Graph, names: str) -> Layout | None:
    """The library's scheme that names every layer of the graph."""
    if names == ARCHC:
        return None
    unnamed: list[Slot] = []
    for layout in of_library(names):
        lacking = [slot for slot in slots(graph, layout) if not slot.names and not slot.pruned]
        if not lacking:
            return layout
        unnamed = lacking if not unnamed or len(lacking) < len(unnamed) else unnamed
    raise refuse(
        "weights-names",
        f"{names} has no network like `{graph.name}`: there is no name for `{unnamed[0].node}`",
        help="archc's own names fit every network",
    )


def _metadata(graph: Graph, names: str) -> dict[str, str]:
    import archc

    metadata = {"format": "pt", VERSION: archc.__version__, NAMES: names}
    spec = spec_of(graph)
    return {**metadata, SPEC: spec.to_yaml(full=True)} if spec is not None else metadata
