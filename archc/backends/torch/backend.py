"""The PyTorch backend behind archc's protocol."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from torch import nn

from archc.backends.protocol import DEFAULT_FORM, Builder, Emitter, Form, check, raw, span
from archc.backends.torch import build as building
from archc.backends.torch import exported, tensors
from archc.backends.torch.layers import supports
from archc.backends.torch.parts import Plan, limits, plan
from archc.document.diagnostics import Diagnostic, SpecError
from archc.ir.graph import GRAPH, Graph
from archc.ir.ops import Op
from archc.ir.state import State

_WRAPPERS = ("_orig_mod", "module")
"""Where torch.compile and DataParallel keep the module they wrap."""


class Torch(Builder, Emitter):
    """Ordinary `torch.nn.Module`s; of a detector, torchvision's own class. Files are `.pt2`, of the plain network."""

    name = "torch"
    detects = True
    suffix = ".pt2"
    precisions = ("f32", "f16")

    def supports(self, op: Op) -> bool:
        """Whether there is a rule for it."""
        return supports(op)

    def limits(self, graph: Graph) -> Iterator[Diagnostic]:
        """Shared rows that differ, and levels that make no detector of torchvision's."""
        yield from _limits(plan(graph))

    def build(
        self,
        graph: Graph,
        *,
        device: Any = None,
        dtype: Any = None,
        seed: int | None = None,
        state: State | None = None,
    ) -> nn.Module:
        """See `archc.build`."""
        planned = plan(graph)
        if found := self.lacking(graph) or tuple(_limits(planned)):
            raise SpecError(found)
        return building.build(planned, device=device, dtype=dtype, seed=seed, state=state)

    def owns(self, model: Any) -> TypeGuard[nn.Module]:
        """Whether it is a torch module, and no Keras model: on Keras's torch backend, one is a torch module as well."""
        keras = any(kind.__module__.partition(".")[0] == "keras" for kind in type(model).__mro__)
        return isinstance(model, nn.Module) and not keras

    def unwrap(self, model: Any) -> nn.Module:
        """Out of `torch.compile` and `DataParallel`."""
        inner = model
        while GRAPH not in vars(inner):
            found = [inner._modules[name] for name in _WRAPPERS if inner._modules.get(name) is not None]
            if not found:
                return model  # type: ignore[no-any-return]
            inner = found[0]
        return inner  # type: ignore[no-any-return]

    def graph_of(self, model: Any) -> Graph | None:
        """The graph that `build` has left on the model."""
        return vars(self.unwrap(model)).get(GRAPH)

    def read(self, model: Any, graph: Graph | None = None) -> State:
        """See `Builder.read`."""
        return tensors.read(self.unwrap(model), plan(self._known(model, graph)))

    def write(self, model: Any, state: State, graph: Graph | None = None) -> None:
        """See `Builder.write`."""
        tensors.write(self.unwrap(model), plan(self._known(model, graph)), state)

    def changed(self, model: Any, graph: Graph, keys: Collection[str] | None = None) -> list[str]:
        """See `Builder.changed`."""
        return tensors.differing(self.unwrap(model).state_dict(), plan(graph), keys)

    def paths(self, graph: Graph) -> Mapping[str, str]:
        """The names in the state dict."""
        return plan(graph).names

    def dtypes(self, model: Any, graph: Graph) -> Mapping[str, str]:
        """See `Builder.dtypes`."""
        return tensors.dtypes(self.unwrap(model), plan(graph))

    def operations(self, model: Any) -> Mapping[str, Callable[..., Any]]:
        """See `Builder.operations`; those of a detector lie in several modules, and are not told."""
        inner = self.unwrap(model)
        graph = self._known(inner, None)
        return {} if graph.detector else building.operations(inner, graph)

    def any_size(self, graph: Graph) -> bool:
        """Whether its code is the same at every size."""
        return exported.any_size(raw(graph))

    def emit(self, graph: Graph, state: State, path: Path, form: Form = DEFAULT_FORM) -> None:
        """See `Emitter.emit`."""
        check(state, graph)
        plain = raw(graph)
        self.require(plain)
        self.check_form(graph, form)
        exported.write(plan(plain), {key: state[key] for key, _ in plain.tensors()}, path, form)

    def states(self, model: Any, graph: Graph) -> list[str]:
        """The counters of batches."""
        return tensors.states(self.unwrap(model), plan(graph))


def _limits(planned: Plan) -> Iterator[Diagnostic]:
    for region, message in limits(planned):
        place = None if region is None else span(planned.graph, region)
        yield Diagnostic("unsupported-op", message, place)


BACKEND = Torch()
