"""The PyTorch backend behind archc's protocol."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, TypeGuard

from torch import nn

from archc.backends.protocol import Builder, span
from archc.backends.torch import build as building
from archc.backends.torch import tensors
from archc.backends.torch.layers import supports
from archc.backends.torch.parts import limits
from archc.document.diagnostics import Diagnostic
from archc.ir.graph import GRAPH, Graph
from archc.ir.ops import Op
from archc.ir.state import State

_WRAPPERS = ("_orig_mod", "module")
"""Where torch.compile and DataParallel keep the module they wrap."""


class Torch(Builder):
    """Ordinary `torch.nn.Module`s; of a detector, torchvision's own class."""

    name = "torch"
    detects = True

    def supports(self, op: Op) -> bool:
        return supports(op)

    def limits(self, graph: Graph) -> Iterator[Diagnostic]:
        for region, message in limits(graph):
            yield Diagnostic("unsupported-op", message, None if region is None else span(graph, region))

    def build(
        self, graph: Graph, *, device: Any = None, dtype: Any = None, seed: int | None = None, state: State | None = None
    ) -> nn.Module:
        self.require(graph)
        return building.build(graph, device=device, dtype=dtype, seed=seed, state=state)

    def owns(self, model: Any) -> TypeGuard[nn.Module]:
        # On Keras's torch backend, a Keras model is a torch module as well.
        keras = any(kind.__module__.partition(".")[0] == "keras" for kind in type(model).__mro__)
        return isinstance(model, nn.Module) and not keras

    def unwrap(self, model: Any) -> nn.Module:
        inner = model
        while GRAPH not in vars(inner):
            found = [inner._modules[name] for name in _WRAPPERS if inner._modules.get(name) is not None]
            if not found:
                return model  # type: ignore[no-any-return]
            inner = found[0]
        return inner  # type: ignore[no-any-return]

    def graph_of(self, model: Any) -> Graph | None:
        return vars(self.unwrap(model)).get(GRAPH)

    def read(self, model: Any, graph: Graph | None = None) -> State:
        return tensors.read(self.unwrap(model), self._known(model, graph))

    def write(self, model: Any, state: State, graph: Graph | None = None) -> None:
        tensors.write(self.unwrap(model), self._known(model, graph), state)

    def changed(self, model: Any, graph: Graph, keys: Collection[str] | None = None) -> list[str]:
        return tensors.changed(self.unwrap(model), graph, keys)


BACKEND = Torch()
