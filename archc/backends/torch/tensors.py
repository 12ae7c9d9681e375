"""A module's tensors as a `State`. The IR's layouts are torch's own, so only names differ."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from archc.backends.torch.parts import Plan
from archc.ir.state import COUNTER, Array, State, is_counter


def read(module: nn.Module, plan: Plan) -> State:
    """The weights that the module has, and its counters; see `Builder.read`."""
    tensors = module.state_dict()
    found: dict[str, Array] = {}
    for key, weight in plan.weights.items():
        value = tensors.get(plan.names[key])
        if value is not None and tuple(value.shape) == weight.shape:
            found[key] = _array(value)
    for key, name in _counters(plan.names):
        if name in tensors:
            found[key] = _array(tensors[name])
    return found


def write(module: nn.Module, plan: Plan, state: State) -> None:
    """Set the weights that the state holds; see `Builder.write`."""
    tensors, names = module.state_dict(), plan.names
    counters = dict(_counters(names))
    targets: dict[str, Array] = {}
    for key, value in state.items():
        name = names.get(key) or counters.get(key)
        if name is None and not is_counter(key):
            raise ValueError(f"`{key}` is no weight of `{plan.graph.name}`")
        if name is not None and name in tensors:
            if tensors[name].shape != value.shape:
                raise ValueError(f"`{key}` is {list(value.shape)}, but the module has {list(tensors[name].shape)}")
            targets[name] = value
        elif key in names:
            raise ValueError(f"the module has no `{name}`: it was changed after it was built")
    born = {name: _born(value, tensors[name]) for name, value in targets.items() if tensors[name].is_meta}
    with torch.no_grad():
        for name, value in targets.items():
            if name not in born:
                tensors[name].copy_(_tensor(value))
    if born:
        for name in counters.values():
            if name in tensors and tensors[name].is_meta and name not in born:
                born[name] = torch.zeros_like(tensors[name], device="cpu")
        module.load_state_dict(born, strict=False, assign=True)


def differing(tensors: Mapping[str, Tensor], plan: Plan, keys: Collection[str] | None = None) -> list[str]:
    """The tensors of a state dict that are not what the graph says; see `Builder.changed`."""
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    names = plan.names
    wanted = {names[key]: weight.shape for key, weight in plan.weights.items() if keys is None or key in keys}
    counters = {name for _, name in _counters(names)}
    found = [name for name, shape in wanted.items() if shapes.get(name) != shape]
    more = [name for name in shapes if name not in wanted and name not in counters]
    if not more:
        return found
    used = {path for name in wanted for path in _enclosing(name)}
    free = {path for name in names.values() if name not in wanted for path in _enclosing(name)} - used
    return found + [name for name in more if free.isdisjoint(_enclosing(name))]


def dtypes(module: nn.Module, plan: Plan) -> dict[str, str]:
    """The types of the weights; see `Builder.dtypes`."""
    kinds = {name: value.dtype for name, value in module.state_dict().items()}
    shown = {kind: str(kind).removeprefix("torch.") for kind in set(kinds.values())}
    return {key: shown[kinds[name]] for key, name in plan.names.items() if name in kinds}


def states(module: nn.Module, plan: Plan) -> list[str]:
    """The counters that the module has; see `Builder.states`."""
    held = module.state_dict()
    return [name for _, name in _counters(plan.names) if name in held]


def _enclosing(name: str) -> Iterator[str]:
    """The modules that a tensor lies in, outermost first."""
    end = name.find(".")
    while end >= 0:
        yield name[:end]
        end = name.find(".", end + 1)


def _counters(names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The counter of every batch normalisation, by canonical name and by the module's."""
    for key, name in names.items():
        if key.endswith(".running_mean"):
            yield key[: -len("running_mean")] + COUNTER, name[: -len("running_mean")] + COUNTER


def _array(value: Tensor) -> Array:
    if value.is_meta:
        raise ValueError("a module on the meta device has no numbers")
    value = value.detach()
    value = value.float() if value.dtype == torch.bfloat16 else value  # NumPy lacks bfloat16
    return value.to("cpu", copy=True).contiguous().numpy()


def _tensor(value: Array) -> Tensor:
    """The array's own memory where torch can use it."""
    usable = value.flags.writeable and all(stride >= 0 for stride in value.strides)
    return torch.from_numpy(value) if usable else torch.tensor(np.ascontiguousarray(value))


def _born(value: Array, like: Tensor) -> Tensor:
    # Rows in order: a transposed array's strides would choose another algorithm.
    made: Any = torch.tensor(np.ascontiguousarray(value), dtype=like.dtype)
    return made.reshape(like.shape)  # type: ignore[no-any-return]
