"""Transforms: pure functions (Graph, State) → (Graph, State) that rewrite a network together with its weights.

To add one: a file with the function, a line in `TRANSFORMS`, a test. Users add theirs without touching archc: by
`register`, or by an entry point in the group `archc.transforms`. `archc.transforms.rewrite` is the toolkit for them.

A state may be None; then only the structure is rewritten. Importing this imports no NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata

from archc.document.diagnostics import did_you_mean, fail, one_of
from archc.ir.graph import Graph
from archc.ir.state import State, problems
from archc.ir.verify import InvalidGraphError, verify, verify_subgraph
from archc.transforms.drop_training_ops import drop_training_ops
from archc.transforms.equalise import equalise
from archc.transforms.fold_norms import fold_norms
from archc.transforms.inference import inference
from archc.transforms.preprocess import preprocess
from archc.transforms.reparameterise import reparameterise
from archc.transforms.rewrite import Result, Rewriter, rewrite

Transform = Callable[[Graph, State | None], Result]
"""A function of a graph and its weights that returns new ones and changes neither."""

ENTRY_POINTS = "archc.transforms"

TRANSFORMS: dict[str, Transform] = {
    "drop_training_ops": drop_training_ops,
    "reparameterise": reparameterise,
    "fold_norms": fold_norms,
    "inference": inference,
    "equalise": equalise,
    "preprocess": preprocess,
}
"""All transforms by name: archc's own, and those that users register."""


def register(name: str, transform: Transform) -> None:
    """Add a transform. The same function may be registered again, as when a notebook's cell runs twice.

    Raises:
        ValueError: the name is taken by another one, or holds a comma, which separates the names in a file.
    """
    if "," in name or name.strip() != name or not name:
        raise ValueError(f"{name!r} is no name for a transform: it must not be empty or hold commas or outer spaces")
    known = TRANSFORMS.setdefault(name, transform)
    if _origin(known) != _origin(transform):
        raise ValueError(f"transform `{name}` exists already, as {'.'.join(_origin(known))}")
    TRANSFORMS[name] = transform


def find(name: str) -> Transform:
    """The transform of this name. Installed packages are searched for it if it is not registered.

    Raises:
        SpecError: `unknown-transform`: there is none.
    """
    if name not in TRANSFORMS:
        points = {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}
        if name not in points:
            known = sorted({*TRANSFORMS, *points})
            hint = did_you_mean(name, known) or one_of(known)
            raise fail("unknown-transform", f"there is no transform `{name}`", help=hint)
        register(name, points[name].load())
    return TRANSFORMS[name]


def apply(graph: Graph, state: State | None, names: Sequence[str]) -> Result:
    """Rewrite a network by transforms in this order; `state` is None where only the structure is wanted.

    The new graph is verified after each of them. It says which transforms it has been through (`transforms`) and what
    they started from (`before`).

    Raises:
        SpecError: `unknown-transform`: there is no transform of such a name; nothing was done.
        ValueError: the state does not fit the graph.
        InvalidGraphError: the fault of a transform.
    """
    transforms = [(name, find(name)) for name in names]
    if state is not None and (wrong := problems(state, graph)):
        raise ValueError(f"the weights do not fit `{graph.name}`: {'; '.join(wrong[:5])}")
    for name, transform in transforms:
        before = graph
        graph, state = transform(before, state)
        graph = replace(graph, transforms=(*before.transforms, name), before=before.before or before, whole=())
        _verify(graph, before, state)
    return graph, state


def _verify(graph: Graph, before: Graph, state: State | None) -> None:
    known = {id(region.subgraph) for network in _networks(before) for region in network.regions}
    for network in _networks(graph):
        for region in network.regions:
            if id(region.subgraph) not in known:
                verify_subgraph(region.subgraph)
    verify(graph)
    if state is not None and (wrong := problems(state, graph)):
        raise InvalidGraphError(f"the weights after `{graph.transforms[-1]}` do not fit: {'; '.join(wrong[:5])}")


def _networks(graph: Graph) -> list[Graph]:
    return [graph, *(call.graph for call in graph.calls)]


def _origin(transform: Transform) -> tuple[str, str]:
    return transform.__module__, getattr(transform, "__qualname__", repr(transform))


__all__ = ["TRANSFORMS", "Result", "Rewriter", "Transform", "apply", "find", "register", "rewrite"]
