"""Weights from one built network into another, whichever backends built them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archc import backends, transforms
from archc.backends import Builder
from archc.ir.graph import Graph
from archc.weights.carrying.network import Network
from archc.weights.error import refuse
from archc.weights.naming.layout import Shape
from archc.weights.naming.partial import partial_rows, selects


@dataclass(frozen=True)
class CopyReport:
    """What `copy_weights` did."""

    copied: Mapping[str, int]
    """The tensors that were copied, by operation and weight (`c4.0.expand.conv.weight`), and the parameters in each: 0
    for statistics."""
    left: tuple[str, ...]
    """The target's tensors that were left as they were, as asked for with `partial`."""
    skipped: tuple[str, ...]
    """What is no weight, of both networks: torch's counters of batches, Keras's state of random generators."""
    unused: tuple[str, ...] = ()
    """The source's tensors that the target's backend has no place for: a detector's heads on proposals."""

    @property
    def tensors(self) -> int:
        """How many tensors were copied."""
        return len(self.copied)

    @property
    def params(self) -> int:
        """How many parameters they hold, without statistics."""
        return sum(self.copied.values())

    def __str__(self) -> str:
        kinds = [name.rpartition("/")[2].rpartition(".")[2] for name in self.skipped]
        counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        said = f"copied {self.tensors} tensors, {self.params:,} parameters"
        said += f"; left {len(self.left)} as they were" if self.left else ""
        said += f"; {len(self.unused)} are of heads that the target lacks" if self.unused else ""
        return said + (f"; no weights: {counted}" if counted else "")


def copy_weights(source: Any, target: Any, partial: str | Sequence[str] | None = None) -> CopyReport:
    """Copy all weights of one network into another; see `archc.copy_weights`."""
    giver, taker = _networks(source, target)
    names = taker.graph.transforms if not giver.graph.transforms else ()
    base = taker.graph.before if names and taker.graph.before is not None else taker.graph
    alone = partial_rows(base, partial, taker.backend.paths(base))
    if names and alone:
        raise refuse(
            "weights-transforms",
            f"the weights of `{base.name}` are rewritten as a whole, so no stage can be left as it is",
            help="copy into the network without transforms, and build it with `state=` and `transforms=` then",
        )
    offered, wanted = _weights(giver.graph, alone), _weights(base, alone)
    unused = [] if base.calls else [key for call in giver.graph.calls for key in offered if _inside(key, call.name)]
    offered = {key: value for key, value in offered.items() if key not in unused}
    if differing := [key for key in {**wanted, **offered} if wanted.get(key) != offered.get(key)]:
        raise refuse(
            "weights-mismatch",
            f"the weights of `{giver.graph.name}` do not fit `{base.name}`: {len(differing)} tensors differ",
            notes=tuple(_difference(key, offered.get(key), wanted.get(key)) for key in differing[:8]),
            help="build both from one spec, or leave what differs as it is with `partial`",
        )
    giver.check(wanted if alone or unused else None)
    taker.check(wanted if alone else None)
    skipped = [*giver.backend.states(giver.model, giver.graph), *taker.backend.states(taker.model, taker.graph)]
    state = {key: value for key, value in giver.read().items() if key in wanted}
    params = {key: int(state[key].size) * wanted[key][1] for key in wanted}
    if names:
        made = transforms.apply(base, state, names)[1]
        assert made is not None
        keys = {key for key, _ in taker.graph.tensors()}
        state = {key: value for key, value in made.items() if key in keys}
    taker.write(state)
    left = tuple(key for key in _weights(base, ()) if key not in wanted)
    return CopyReport(params, left, tuple(dict.fromkeys(skipped)), tuple(unused))


def _networks(source: Any, target: Any) -> tuple[Network, Network]:
    """Both networks; one that does not know its graph takes the other's.

    Raises:
        WeightsError: neither was built by archc.
    """
    found = [_opened(model) for model in (source, target)]
    graph = next((graph for _, _, graph in found if graph is not None), None)
    if graph is None:
        raise refuse(
            "weights-network",
            "neither network was built by archc, so nothing says which tensor is which",
            help="pass a network that `archc.build` returned; what Keras loaded from a file has forgotten its spec",
        )
    giver, taker = (Network(backend, model, own or graph) for backend, model, own in found)
    return giver, taker


def _opened(model: Any) -> tuple[Builder, Any, Graph | None]:
    backend = backends.of(model)
    if backend is None:
        message = f"this `{type(model).__name__}` was not built by archc, and is a model of no backend"
        raise refuse("weights-network", message)
    return backend, backend.unwrap(model), backend.graph_of(model)


def _weights(graph: Graph, alone: Sequence[str]) -> Mapping[str, tuple[Shape, bool]]:
    """Shape and trainability of every weight, except in the stages and rows that are left alone."""
    return {key: (weight.shape, weight.trainable) for key, weight in graph.tensors() if not selects(alone, key)}


def _inside(key: str, call: str) -> bool:
    return key.startswith(f"{call}.")


def _difference(key: str, offered: Any, wanted: Any) -> str:
    there, here = ("×".join(map(str, found[0])) if found else "absent" for found in (offered, wanted))
    return f"`{key}`: {there} in the source, {here} in the target"
