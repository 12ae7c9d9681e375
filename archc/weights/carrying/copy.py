"""Weights from one built network into another, whichever backend built either."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archc.backends import backend_of
from archc.ir.graph import GRAPH, Graph
from archc.weights.error import refuse
from archc.weights.partial import partial_rows, selects


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
        return said + (f"; no weights: {counted}" if counted else "")


class _Side:
    """A network, its graph, and its backend's way to its tensors."""

    def __init__(self, model: Any) -> None:
        self.backend = backend_of(model)
        if self.backend == "torch":
            from archc.weights.origin import unwrapped

            model = unwrapped(model)
        self.model = model
        self.graph: Graph | None = vars(model).get(GRAPH)
        self.tensors = importlib.import_module(f"archc.backends.{self.backend}")

    def skipped(self, graph: Graph, all_known: bool) -> list[str]:
        """What is no weight.

        Raises:
            WeightsError: it has tensors that the graph does not know.
        """
        states, others = self.tensors.skipped(self.model, graph)
        if others and all_known:
            raise _changed(self, others[0])
        return list(states)


def copy_weights(source: Any, target: Any, partial: str | Sequence[str] | None = None) -> CopyReport:
    """Copy all weights of one network into another; see `archc.copy_weights`."""
    giver, taker = _Side(source), _Side(target)
    graph, own = giver.graph or taker.graph, taker.graph or giver.graph
    if graph is None or own is None:
        raise refuse(
            "weights-network",
            "neither network was built by archc, so nothing says which tensor is which",
            help="pass a network that `archc.build` returned; what Keras loaded from a file has forgotten its spec",
        )
    if graph.calls or own.calls:
        raise refuse("weights-network", f"`{(graph if graph.calls else own).name}` is a detector: only its torch "
                     "module has weights, and `load_state_dict` copies them")  # fmt: skip
    alone = partial_rows(own, partial)
    wanted, offered = _weights(own, alone), _weights(graph, alone)
    differing = [_difference(key, offered.get(key), wanted.get(key)) for key in {**wanted, **offered}
                 if wanted.get(key) != offered.get(key)]  # fmt: skip
    if differing:
        raise refuse(
            "weights-mismatch",
            f"the weights of `{graph.name}` do not fit `{own.name}`: {len(differing)} tensors differ",
            notes=tuple(differing[:8]),
            help="build both from one spec, or leave what differs as it is with `partial`",
        )
    skipped = [*giver.skipped(graph, not alone), *taker.skipped(own, not alone)]
    for side, its in ((giver, graph), (taker, own)):
        known = side.tensors.fitting(side.model, its)
        if missing := [key for key in wanted if key not in known]:
            raise _changed(side, missing[0])
    values = giver.tensors.read(giver.model, graph, wanted)
    taker.tensors.write(taker.model, own, values)
    params = {key: int(value.size) * wanted[key][1] for key, value in values.items()}
    left = tuple(key for key in _weights(own, ()) if key not in wanted)
    return CopyReport(params, left, tuple(dict.fromkeys(skipped)))


_Weights = Mapping[str, tuple[tuple[int, ...], bool]]


def _weights(graph: Graph, alone: Sequence[str]) -> _Weights:
    """Shape and trainability of every weight, but for the stages and rows that are left alone."""
    return {
        f"{node.name}.{weight.name}": (weight.shape, weight.trainable)
        for node, _, weights in graph.weighted()
        if not selects(alone, node.name)
        for weight in weights
    }


def _difference(key: str, offered: Any, wanted: Any) -> str:
    there, here = ("×".join(map(str, found[0])) if found else "absent" for found in (offered, wanted))
    return f"`{key}`: {there} in the source, {here} in the target"


def _changed(side: _Side, name: str) -> Exception:
    return refuse(
        "weights-network",
        f"the {side.backend} network was changed after it was built: `{name}` is not what its spec says",
        help="change the spec and build anew, or leave the stages that were changed as they are with `partial`",
    )
