"""Checkpoints to States and back: names, pieces and layouts, and nothing of any backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from archc import transforms
from archc.document.diagnostics import Diagnostic
from archc.ir.graph import Graph
from archc.ir.state import Array, State, is_counter
from archc.weights.carrying.read import wrong_kind
from archc.weights.checkpoint import Checkpoint, Tensor
from archc.weights.error import refuse
from archc.weights.explaining.mismatch import mismatch
from archc.weights.explaining.policy import warnings as policy_warnings
from archc.weights.naming.detect import detect
from archc.weights.naming.layout import joined, split
from archc.weights.naming.match import Match, Status, match
from archc.weights.naming.schemes import ARCHC, AUTO, Scheme, of_library
from archc.weights.naming.slots import Naming, Slot


@dataclass(frozen=True)
class Carried:
    """A checkpoint as the State of a network."""

    state: State
    """The weights that the checkpoint gives, and counters of batches; those that it lacks are 0."""
    match: Match
    scheme: Scheme | None
    checkpoint: Checkpoint
    kinds: Mapping[str, str]
    """The type that every weight had in the checkpoint, by key."""
    transforms: tuple[str, ...]
    """The transforms that rewrote the State."""
    warnings: tuple[Diagnostic, ...]


def to_state(
    checkpoint: Checkpoint,
    graph: Graph,
    source: str = AUTO,
    alone: Sequence[str] = (),
    paths: Mapping[str, str] | None = None,
) -> Carried:
    """A checkpoint as the State of a network, rewritten as the network was.

    Args:
        checkpoint: the tensors.
        graph: the network.
        source: whose names they have.
        alone: the stages and rows that get nothing.
        paths: a model's own names by key, which the checkpoint may have instead of archc's.

    Raises:
        WeightsError: it does not fit, holds what are no weights, or was rewritten otherwise than the network.
    """
    base = _base(checkpoint, graph)
    naming, scheme, checkpoint = _named(checkpoint, base, source, paths or {})
    found = _matched(naming, scheme, checkpoint, alone)
    if not found.complete and base is not graph and scheme is None:
        rewritten = _matched(Naming(graph), None, checkpoint, alone)
        if rewritten.complete:  # the state dict of a network with the same transforms
            found, base = rewritten, graph
    if not found.complete:
        raise mismatch(base, scheme, checkpoint, found, alone)
    state, kinds, doubts = _state(found, checkpoint)
    warned = (*policy_warnings(base, scheme, checkpoint, alone), *doubts)
    names = graph.transforms if base is not graph else ()
    if names:
        if alone:
            raise refuse(
                "weights-transforms",
                f"the weights of `{graph.name}` are rewritten as a whole, so no stage can be left as it is",
                help="load into the network without transforms, and build it with `state=` and `transforms=` then",
            )
        again, made = transforms.apply(base, state, names)
        assert made is not None
        if graph not in (again, replace(again, calls=())):
            raise refuse(
                "weights-transforms",
                f"`{graph.name}` is not what its transforms {', '.join(names)} make of its spec now",
                help="build it anew",
            )
        keys = {key for key, _ in graph.tensors()}
        state = {key: value for key, value in made.items() if key in keys or is_counter(key)}
    return Carried(state, found, scheme, checkpoint, kinds, names, warned)


def _base(checkpoint: Checkpoint, graph: Graph) -> Graph:
    """The network whose weights the checkpoint has: the one before the transforms, unless it was rewritten itself.

    Raises:
        WeightsError: it was rewritten otherwise.
    """
    if not checkpoint.transforms:
        return graph.before or graph
    if checkpoint.transforms != graph.transforms:
        theirs, ours = (", ".join(names) or "none" for names in (checkpoint.transforms, graph.transforms))
        raise refuse(
            "weights-transforms",
            f"{checkpoint.shown} holds the weights of a rewritten network: its transforms are {theirs}, here {ours}",
            help=f"build with `transforms={list(checkpoint.transforms)}`, or load the weights before the transforms",
        )
    return graph


def _named(
    checkpoint: Checkpoint, graph: Graph, source: str, paths: Mapping[str, str]
) -> tuple[Naming, Scheme | None, Checkpoint]:
    """The network's names, whose names the checkpoint has, and the checkpoint under full names."""
    naming = Naming(graph)
    own = {there: key for key, there in paths.items() if there != key}
    if own and source in (AUTO, ARCHC) and not checkpoint.own and any(name in checkpoint.tensors for name in own):
        checkpoint = replace(checkpoint, tensors=_renamed(checkpoint, paths))
        return naming, None, checkpoint
    scheme = detect(checkpoint.tensors, naming, source, own=checkpoint.own)
    if scheme is None or not scheme.prefix or any(name.startswith(scheme.prefix) for name in checkpoint.tensors):
        return naming, scheme, checkpoint
    full = {f"{scheme.prefix}{name}": value for name, value in checkpoint.tensors.items()}  # a backbone's own file
    return naming, scheme, replace(checkpoint, tensors=full)


def _renamed(checkpoint: Checkpoint, paths: Mapping[str, str]) -> dict[str, Tensor]:
    """A state dict's names as keys."""
    modules = {there.rpartition(".")[0]: key.rpartition(".")[0] for key, there in paths.items()}
    found: dict[str, Tensor] = {}
    for name, value in checkpoint.tensors.items():
        module, _, last = name.rpartition(".")
        found[f"{modules[module]}.{last}" if module in modules else name] = value
    return found


def _matched(naming: Naming, scheme: Scheme | None, checkpoint: Checkpoint, alone: Sequence[str]) -> Match:
    heads = scheme.heads if scheme is not None else ()
    return match(naming.slots(scheme), checkpoint.shapes, alone, heads, naming.absent(scheme))


def _state(found: Match, checkpoint: Checkpoint) -> tuple[dict[str, Array], dict[str, str], list[Diagnostic]]:
    """The arrays by key, the types they had, and a warning for each that holds nan or inf.

    Raises:
        WeightsError: some of them are no floating-point numbers.
    """
    import numpy

    loaded = [(entry.slot, entry.names) for entry in found.having(Status.LOADED) if entry.slot is not None]
    tensors = checkpoint.tensors
    bad = [
        f"`{name}` is {tensors[name].kind}"
        for slot, names in loaded
        for name in names
        if not (tensors[name].is_count if slot.counter else tensors[name].is_float)
    ]
    if bad:
        raise wrong_kind(bad)
    state: dict[str, Array] = {}
    kinds: dict[str, str] = {}
    doubts: list[Diagnostic] = []
    for slot, names in loaded:
        array = joined([tensors[name].convert() for name in names], slot.weight.shape)
        if slot.counter:
            state[slot.key] = array.astype(numpy.int64)
            continue
        state[slot.key] = array
        kinds[slot.key] = tensors[names[0]].kind
        # A sum is finite only if all of its terms are, and takes a tenth of the time of looking at each.
        with numpy.errstate(all="ignore"):
            total = array.sum(dtype=numpy.float32 if array.dtype == numpy.float16 else None)
            finite = numpy.isfinite(total) or bool(numpy.isfinite(array).all())
        if not finite:
            number = int(array.size - numpy.isfinite(array).sum())
            doubts.append(_not_finite(checkpoint, names[0], number, array.size))
    for slot in found.slots(Status.UNCOUNTED):
        state[slot.key] = numpy.zeros((), numpy.int64)
    return state, kinds, doubts


def _not_finite(checkpoint: Checkpoint, name: str, number: int, size: int) -> Diagnostic:
    return Diagnostic(
        "not-finite",
        f"`{name}` holds nan or inf: {number:,} of its {size:,} numbers, in {checkpoint.shown}",
        help="training has diverged, or the file was damaged: predictions will be nan as well",
        severity="warning",
    )


def to_tensors(state: State, graph: Graph, names: str = ARCHC) -> dict[str, Array]:
    """A State under a library's names and in its layouts, with 0 for the counters of batches that it lacks.

    Raises:
        WeightsError: the library has no names for this network.
    """
    import numpy

    found: dict[str, Array] = {}
    for slot in named_slots(graph, names):
        array = state.get(slot.key, numpy.zeros((), numpy.int64)) if slot.counter else state[slot.key]
        found.update(zip(slot.names, split(array, slot.shapes), strict=True))
    return found


def named_slots(graph: Graph, names: str) -> list[Slot]:
    """The network's tensors under a library's names: the first of its schemes that names all of them.

    Raises:
        WeightsError: the library has no names for this network.
    """
    naming = Naming(graph)
    if names == ARCHC:
        return [slot for slot in naming.slots(None) if not slot.pruned]
    schemes = of_library(names)
    if graph.before is not None and {k for k, _ in graph.tensors()} != {k for k, _ in graph.before.tensors()}:
        raise refuse(
            "weights-names",
            f"{names} has no names for what {', '.join(graph.transforms)} made of `{graph.name}`",
            help="archc's own names fit every network",
        )
    unnamed: list[Slot] = []
    for scheme in schemes:
        slots = [slot for slot in naming.slots(scheme) if not slot.pruned]
        lacking = [slot for slot in slots if not slot.names]
        if not lacking and len(set(chain.from_iterable(slot.names for slot in slots))) == sum(
            len(slot.names) for slot in slots
        ):
            return slots
        unnamed = lacking if not unnamed or len(lacking) < len(unnamed) else unnamed
    where = unnamed[0].key.rpartition(".")[0] if unnamed else graph.name
    raise refuse(
        "weights-names",
        f"{names} has no network like `{graph.name}`: there is no name for `{where}`",
        help="archc's own names fit every network",
    )


__all__ = ["Carried", "named_slots", "to_state", "to_tensors"]
