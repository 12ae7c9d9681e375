"""A module's own tensors, against what its graph says they are."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from archc.backends.torch import module_path
from archc.weights.error import refuse
from archc.weights.naming import Slot
from archc.weights.origin import graph_of


def key_of(slot: Slot) -> str:
    """The tensor's name in the module's state dict."""
    return ".".join([*([slot.root] if slot.root else []), module_path(slot.node), slot.weight.name])


def agree(module: nn.Module, used: Iterable[Slot], alone: Iterable[str] = ()) -> None:
    """Check that a module still is what its graph says, but for the stages and rows that are left alone.

    Raises:
        WeightsError: layers were replaced, removed or added.
    """
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    wanted = {key_of(slot): slot.weight.shape for slot in used}
    backbone = graph_of(module).backbone
    alone = [*alone, *(f"{backbone}.{name}" for name in alone if backbone)]
    rows = tuple(f"{module_path(name)}." for name in alone)
    changed = [name for name, shape in wanted.items() if shapes.get(name) != shape]
    changed += [name for name in shapes if name not in wanted and not name.startswith(rows)]
    if changed:
        raise refuse(
            "weights-network",
            f"the module was changed after it was built: `{changed[0]}` is not what its spec says",
            help="change the spec and build anew, or leave the stages that were changed as they are with `partial`",
        )
