"""A built network as its weights see it: the backend, the model, and the graph that says which tensor is which."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from archc import backends
from archc.backends import Builder
from archc.ir.graph import Graph
from archc.ir.state import State, is_counter
from archc.weights.error import refuse


@dataclass(frozen=True)
class Network:
    """A model that archc built, or one whose layers are named as archc names a graph's."""

    backend: Builder
    model: Any
    graph: Graph

    @classmethod
    def open(cls, model: Any) -> Network:
        """The network of a model that archc built.

        Raises:
            WeightsError: archc did not build it.
        """
        backend = backends.of(model)
        graph = backend.graph_of(model) if backend is not None else None
        if backend is None or graph is None:
            raise refuse(
                "weights-network",
                f"this `{type(model).__name__}` was not built by archc, or does not know its spec any more",
                help="pass what `archc.build` returned. What Keras loads from a file does not know its network: "
                "build it with archc, and `archc.copy_weights` into it",
            )
        return cls(backend, backend.unwrap(model), graph)

    @cached_property
    def paths(self) -> Mapping[str, str]:
        """The network's own names of its weights, by their keys."""
        return self.backend.paths(self.graph)

    def name(self, key: str) -> str:
        """The network's own name of a weight or a counter."""
        if key in self.paths or not is_counter(key):
            return self.paths.get(key, key)
        module = key.rpartition(".")[0]
        beside = self.paths.get(f"{module}.running_mean", key)
        return f"{beside.rpartition('.')[0]}.{key.rpartition('.')[2]}"

    def read(self) -> State:
        """The network's weights.

        Raises:
            WeightsError: there are no numbers in it.
        """
        try:
            return self.backend.read(self.model, self.graph)
        except ValueError as error:
            raise refuse("weights-network", f"the network cannot be read: {error}") from None

    def write(self, state: State) -> None:
        """Set these weights."""
        self.backend.write(self.model, state, self.graph)

    def check(self, keys: Collection[str] | None = None) -> None:
        """Check that the network still is what its graph says; with `keys`, only as to these weights.

        Raises:
            WeightsError: layers were replaced, removed or added.
        """
        changed = self.backend.changed(self.model, self.graph, keys)
        if changed:
            raise refuse(
                "weights-network",
                f"the {self.backend.name} network was changed after it was built, or was not built by archc: "
                f"`{changed[0]}` is not what its spec says",
                help="change the spec and build anew, or leave the stages that were changed as they are with `partial`",
            )
