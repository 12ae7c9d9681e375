"""The Keras backend behind archc's protocol."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from archc.backends.keras import build as building
from archc.backends.keras import tensors
from archc.backends.keras.layers import supports
from archc.backends.keras.runtime import keras
from archc.backends.protocol import Builder, check, span
from archc.document.diagnostics import Diagnostic
from archc.ir.graph import GRAPH, Graph
from archc.ir.ops import Op
from archc.ir.state import State


class Keras(Builder):
    """Functional `keras.Model`s, channels last; of a detector, the plain network with the heads on its levels."""

    name = "keras"

    def supports(self, op: Op) -> bool:
        """Whether there is a rule for it."""
        return supports(op)

    def covers(self, graph: Graph) -> Graph:
        """Without what runs on proposals."""
        before = None if graph.before is None else self.covers(graph.before)
        return replace(graph, calls=(), before=before) if graph.calls else graph

    def limits(self, graph: Graph) -> Iterator[Diagnostic]:
        """Rows with weights that feed no output."""
        graph = self.covers(graph)
        live = set(graph.outputs.values())
        for node in reversed(graph.nodes):
            if node.name in live:
                live.update(node.inputs)
        rows = [(region, node.name) for region in graph.regions for node in region.subgraph.nodes if node.weights]
        used = {region.owner(local) for region, local in rows if region.full(local) in live}
        seen: set[str] = set()
        for region, local in rows:
            if region.owner(local) not in used and region.name not in seen:
                seen.add(region.name)
                message = f"row `{region.name}` feeds no output by `{region.full(local)}`; Keras keeps only what does"
                yield Diagnostic("unsupported-op", message, span(graph, region), help="remove the operation")

    def build(
        self,
        graph: Graph,
        *,
        device: Any = None,
        dtype: Any = None,
        seed: int | None = None,
        state: State | None = None,
    ) -> Any:
        """See `archc.build`."""
        self.require(graph)
        covered = self.covers(graph)
        if state is not None:
            check(state, graph)
            keys = {key for key, _ in covered.tensors()}
            state = {key: value for key, value in state.items() if key in keys}
        return building.build(covered, device=device, dtype=dtype, seed=seed, state=state)

    def owns(self, model: Any) -> bool:
        """Whether it is a Keras model."""
        return isinstance(model, keras.Model)

    def unwrap(self, model: Any) -> Any:
        """The model itself: Keras has no wrappers."""
        return model

    def graph_of(self, model: Any) -> Graph | None:
        """The graph that `build` has left on the model."""
        graph: Graph | None = vars(model).get(GRAPH)
        return graph

    def read(self, model: Any, graph: Graph | None = None) -> State:
        """See `Builder.read`."""
        return tensors.read(model, self.covers(self._known(model, graph)))

    def write(self, model: Any, state: State, graph: Graph | None = None) -> None:
        """See `Builder.write`."""
        tensors.write(model, self.covers(self._known(model, graph)), state)

    def changed(self, model: Any, graph: Graph, keys: Collection[str] | None = None) -> list[str]:
        """See `Builder.changed`."""
        return tensors.changed(model, self.covers(graph), keys)

    def dtypes(self, model: Any, graph: Graph) -> Mapping[str, str]:
        """See `Builder.dtypes`."""
        return tensors.dtypes(model, self.covers(graph))

    def states(self, model: Any, graph: Graph) -> list[str]:
        """See `Builder.states`."""
        return tensors.states(model)


BACKEND = Keras()
