"""A compiled module's weights into a file."""

from __future__ import annotations

import os
import tempfile
from os import PathLike, fspath
from pathlib import Path

from torch import Tensor, nn

from archc.backends import backend_of
from archc.backends.torch import build
from archc.ir.graph import SPEC, Graph
from archc.weights.copy import copy_weights
from archc.weights.error import refuse
from archc.weights.layout import split
from archc.weights.maps import ARCHC, Layout, of_library
from archc.weights.module import agree, key_of
from archc.weights.naming import Slot, slots
from archc.weights.origin import graph_of, spec_of, unwrapped
from archc.weights.read import NAMES, VERSION

SUFFIX = ".safetensors"


def save_weights(
    model: nn.Module, path: str | PathLike[str], names: str = ARCHC, *, overwrite: bool = False
) -> tuple[str, ...]:
    """Write a module's weights; see `archc.save_weights`. Returns the names in the file."""
    target = Path(fspath(path))
    if target.suffix != SUFFIX:
        message = f"`{target}` does not end in `{SUFFIX}`, the only format that archc writes"
        raise refuse("weights-file", message, help=f"`{target.with_suffix(SUFFIX)}`")
    if target.exists() and not overwrite:
        raise refuse("weights-exists", f"`{target}` exists already", help="`--force`, in Python `overwrite=True`")
    tensors = named(model, names)
    graph = graph_of(unwrapped(model) if backend_of(model) == "torch" else model)
    _write(tensors, _metadata(graph, names), target)
    return tuple(tensors)


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


def _write(tensors: dict[str, Tensor], metadata: dict[str, str], path: Path) -> None:
    """Write beside the target, and move it in place only once all of it is there."""
    from safetensors.torch import save_file

    handle, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    try:
        save_file(tensors, beside, metadata=metadata)
        os.chmod(beside, 0o666 & ~_umask())  # safetensors makes it readable for its owner only
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
