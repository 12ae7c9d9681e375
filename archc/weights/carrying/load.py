"""Checkpoints into networks that archc built: file to State, State to the network."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from os import PathLike
from typing import Any

from archc.ir.graph import Graph
from archc.ir.state import State, is_counter
from archc.weights.carrying.network import Network
from archc.weights.carrying.read import StateDict, read
from archc.weights.carrying.report import LoadReport, TensorLoad
from archc.weights.carrying.state import Carried, to_state
from archc.weights.error import WeightsWarning
from archc.weights.naming.match import Entry
from archc.weights.naming.partial import partial_rows
from archc.weights.naming.schemes import ARCHC, AUTO, of_library


def load_weights(
    model: Any,
    source_file: str | PathLike[str] | StateDict,
    source: str = AUTO,
    partial: str | Sequence[str] | None = None,
) -> LoadReport:
    """Load a checkpoint into a network that `archc.build` returned; see `archc.load_weights`."""
    network = Network.open(model)
    alone = partial_rows(network.graph, partial, network.paths)
    of_library(source)  # a source that does not exist is reported before the file is read
    carried = to_state(read(source_file, network.graph), network.graph, source, alone, network.paths)
    weights = {key for key in carried.state if not is_counter(key)}
    network.check(weights if alone else None)
    dtypes = network.backend.dtypes(network.model, network.graph)
    network.write(carried.state)
    casts = {f"{kind} to {dtypes[key]}": None for key, kind in carried.kinds.items() if dtypes.get(key, kind) != kind}
    report = _report(carried, network, source, tuple(casts))
    for warning in report.warnings:
        warnings.warn(str(warning), WeightsWarning, stacklevel=3)
    return report


def read_state(
    source_file: str | PathLike[str] | StateDict, graph: Graph, source: str = AUTO
) -> tuple[State, LoadReport]:
    """Read a checkpoint as the State of a network, without any backend; see `archc.weights.read_state`."""
    of_library(source)  # a source that does not exist is reported before the file is read
    import numpy

    carried = to_state(read(source_file, graph), graph, source)
    casts = {f"{kind} to float32": None for kind in carried.kinds.values() if kind != "float32"}
    state = {
        key: array if is_counter(key) else array.astype(numpy.float32, copy=False)
        for key, array in carried.state.items()
    }
    return state, _report(carried, None, source, tuple(casts))


def _report(carried: Carried, network: Network | None, source: str, casts: tuple[str, ...]) -> LoadReport:
    checkpoint, scheme = carried.checkpoint, carried.scheme
    return LoadReport(
        file=checkpoint.file,
        source=scheme.library if scheme else ARCHC,
        naming=scheme.name if scheme else "its own",
        detected=source == AUTO,
        wrapper=checkpoint.wrapper,
        prefix=checkpoint.prefix,
        entries=tuple(_entry(entry, network) for entry in carried.match.entries),
        casts=casts,
        transforms=carried.transforms,
        warnings=carried.warnings,
    )


def _entry(entry: Entry, network: Network | None) -> TensorLoad:
    slot = entry.slot
    if slot is None:
        return TensorLoad(entry.status, "", "", entry.names, 0)
    name = network.name(slot.key) if network is not None else slot.key
    return TensorLoad(entry.status, name, slot.stage, entry.names, slot.params)
