"""The network that is to be exported, quantised or timed: its graph, with its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

from archc.backends import builder, of
from archc.blocks import REGISTRY
from archc.blocks.lower import lower
from archc.document.diagnostics import Diagnostic, fail, no_python_warnings
from archc.ir.graph import Graph
from archc.ir.state import State, problems
from archc.language.load import load
from archc.language.schema import Spec
from archc.prediction.trained import find
from archc.transforms import apply
from archc.weights import read_state
from archc.weights.carrying.network import Network as Opened
from archc.weights.carrying.read import rewritten
from archc.weights.naming.schemes import AUTO

Size = tuple[int, int]
"""Height and width of an image."""


class Network(NamedTuple):
    """A graph and its weights. `warnings` say how the weights differ from what the network was trained for."""

    graph: Graph
    state: State
    warnings: tuple[Diagnostic, ...] = ()

    def rewritten(self, names: Sequence[str]) -> Network:
        """The network after transforms.

        Raises:
            SpecError: `unknown-transform`.
        """
        if not names:
            return self
        graph, state = apply(self.graph, self.state, names)
        assert state is not None
        return Network(graph, state, self.warnings)


def open_network(
    network: Any,
    *,
    weights: str | PathLike[str] | Mapping[str, Any] | None = None,
    state: State | None = None,
    seed: int | None = None,
    source: str = AUTO,
    overrides: Sequence[str] = (),
    size: Size | None = None,
    allow: str | Sequence[str] = (),
) -> Network:
    """The graph and the weights of a network.

    Args:
        network: what `archc.build` returned; a directory or file that archc wrote; or a spec's path, bundled name or
            mapping, a spec or a graph, with `weights`, a `state` or a `seed`.
        weights: a checkpoint.
        state: the weights themselves, by canonical name.
        seed: the initial weights of this seed, for tests and timings. They need torch.
        source: whose names the checkpoint has.
        overrides: of the spec.
        size: height and width of the image, in place of the spec's.
        allow: `archc.load`'s.

    Raises:
        SpecError: as `archc.load`, or a size that the network cannot take.
        PredictionError: `no-weights`.
        WeightsError: a checkpoint that cannot be read, or does not fit.
        ValueError: arguments that do not go together.
    """
    if sum(given is not None for given in (weights, state, seed)) > 1:
        raise ValueError("`weights`, `state` and `seed` exclude each other: give the one that you mean")
    library = of(network)
    if library is not None:
        if overrides or size or any(given is not None for given in (weights, state, seed)):
            raise ValueError("a built network has its weights and settings: give nothing else with it")
        opened = Opened.open(network)
        return Network(opened.graph, library.read(opened.model, opened.graph))
    if isinstance(network, Graph | Spec) or state is not None or seed is not None:
        graph = _graph(network, overrides, size, allow)
    else:
        if isinstance(weights, Mapping):
            raise ValueError("tensors in memory go with `state`, or with a spec that is loaded")
        spec, checkpoint, found = find(network, _changes(overrides, size), weights, allow=allow)
        graph = rewritten(lower(spec), checkpoint)
        read, report = read_state(checkpoint, graph, source)
        return Network(graph, read, (*found, *report.warnings))
    if seed is not None:
        torch = builder("torch")
        state = torch.read(torch.build(graph, seed=seed), graph)
    elif state is None:
        if weights is None:
            raise fail("no-weights", f"`{graph.name}` has no weights", help="name a checkpoint: `weights=FILE`")
        state, report = read_state(weights, graph, source)
        return Network(graph, state, report.warnings)
    if wrong := problems(state, graph):
        raise ValueError(f"the state does not fit `{graph.name}`: {', '.join(wrong[:3])}")
    return Network(graph, state)


def _graph(network: Any, overrides: Sequence[str], size: Size | None, allow: str | Sequence[str]) -> Graph:
    if isinstance(network, Graph | Spec) and overrides:
        raise ValueError("`overrides` go with a path, a name or a mapping; a spec has its own `override`")
    if isinstance(network, Graph):
        if size is not None:
            raise ValueError("a graph has its size: `size` goes with what names a spec")
        return network
    if isinstance(network, Spec):
        return lower(network.override({"input.size": size}) if size else network)
    with no_python_warnings():
        spec = load(network, _changes(overrides, size), blocks=REGISTRY.allowing(allow))
    return lower(spec)


def _changes(overrides: Sequence[str], size: Size | None) -> list[str]:
    return [*overrides, *([f"input.size=[{size[0]},{size[1]}]"] if size else [])]
