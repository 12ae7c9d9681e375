"""Checkpoints into a compiled module."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from archc.backends import backend_of
from archc.backends.torch import build
from archc.document.diagnostics import Diagnostic
from archc.weights.copy import copy_weights
from archc.weights.detect import detect
from archc.weights.error import WeightsWarning, refuse
from archc.weights.layout import joined
from archc.weights.maps import ARCHC, AUTO, Layout, of_library
from archc.weights.match import Match, match
from archc.weights.mismatch import mismatch
from archc.weights.module import agree, key_of
from archc.weights.naming import Slot, slots
from archc.weights.origin import graph_of, unwrapped
from archc.weights.partial import partial_rows
from archc.weights.policy import warnings as policy_warnings
from archc.weights.read import Checkpoint, StateDict, read
from archc.weights.report import LoadReport, by_stage


def load_weights(
    model: nn.Module,
    source_file: str | PathLike[str] | StateDict,
    source: str = AUTO,
    partial: str | Sequence[str] | None = None,
) -> LoadReport:
    """Load a checkpoint into a network that `archc.build` returned; see `archc.load_weights`."""
    if backend_of(model) != "torch":
        return _through_torch(model, source_file, source, partial)
    module = unwrapped(model)
    graph = graph_of(module)
    alone = partial_rows(graph, partial)
    of_library(source)  # a source that does not exist is told before the file is read
    checkpoint = read(source_file)
    layout = detect(checkpoint.tensors, graph, source, own=checkpoint.own)
    checkpoint = _with_prefix(checkpoint, layout)
    found = match(slots(graph, layout), checkpoint.shapes, alone, layout.heads if layout else ())
    if not found.complete:
        raise mismatch(graph, layout, checkpoint, found, alone)
    agree(module, [*found.found, *found.uncounted], alone)
    state, casts = _state(module, found, checkpoint.tensors)
    _load(module, state)
    warned = policy_warnings(graph, layout, checkpoint, alone)
    report = _report(checkpoint, layout, found, detected=source == AUTO, casts=casts, warned=warned)
    for warning in report.warnings:
        warnings.warn(str(warning), WeightsWarning, stacklevel=3)
    return report


def _through_torch(
    model: Any, source_file: str | PathLike[str] | StateDict, source: str, partial: str | Sequence[str] | None
) -> LoadReport:
    """Load into another backend's network by way of a torch module, whose layouts are those of checkpoints."""
    module = build(graph_of(model), device="meta")  # nothing is drawn that the checkpoint would overwrite
    report = load_weights(module, source_file, source, partial)
    copy_weights(module, model, partial)
    return report


def _with_prefix(checkpoint: Checkpoint, layout: Layout | None) -> Checkpoint:
    """The names as the whole network has them, where a backbone's file leaves the prefix out."""
    if layout is None or not layout.prefix or any(name.startswith(layout.prefix) for name in checkpoint.tensors):
        return checkpoint
    return replace(checkpoint, tensors={f"{layout.prefix}{n}": value for n, value in checkpoint.tensors.items()})


def _state(module: nn.Module, found: Match, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The module's whole new state dict, in its own types."""
    current = module.state_dict()
    state = dict(current)
    casts: dict[str, None] = {}
    bad: list[str] = []
    for slot in found.found:
        key = key_of(slot)
        pieces = [tensors[name] for name in slot.names]
        bad += [f"`{name}` is {_type(t)}" for name, t in zip(slot.names, pieces, strict=True) if not _usable(slot, t)]
        if bad:
            continue
        target = current[key].dtype
        if not slot.counter and pieces[0].dtype != target:
            casts[f"{_type(pieces[0])} to {str(target).removeprefix('torch.')}"] = None
        state[key] = joined(pieces, slot.weight.shape).to(target)
    if bad:
        raise refuse(
            "weights-dtype",
            "the checkpoint holds numbers of the wrong kind",
            notes=tuple(bad[:5]),
            help="weights are floating-point numbers in dense tensors; quantised ones cannot be loaded",
        )
    for slot in found.uncounted:
        state[key_of(slot)] = torch.zeros((), dtype=torch.long)
    return state, list(casts)


def _usable(slot: Slot, tensor: Tensor) -> bool:
    plain = tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_quantized
    if slot.counter:
        return plain and tensor.dtype in (torch.int64, torch.int32)
    return plain and tensor.is_floating_point()


def _type(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    return kind if tensor.layout == torch.strided else f"sparse {kind}"


def _load(module: nn.Module, state: dict[str, Tensor]) -> None:
    meta = any(value.is_meta for value in module.state_dict().values())
    if meta:
        state = {name: value if value.is_meta else value.clone() for name, value in state.items()}
    module.load_state_dict(state, strict=True, assign=meta)


def _report(
    checkpoint: Checkpoint,
    layout: Layout | None,
    found: Match,
    *,
    detected: bool,
    casts: Sequence[str],
    warned: tuple[Diagnostic, ...],
) -> LoadReport:
    params = ((slot.row, math.prod(slot.weight.shape) * slot.weight.trainable) for slot in found.found)
    return LoadReport(
        file=checkpoint.file,
        source=layout.library if layout else ARCHC,
        naming=layout.name if layout else "its own",
        detected=detected,
        wrapper=checkpoint.wrapper,
        prefix=checkpoint.prefix,
        stages=by_stage(params),
        left=tuple(key_of(slot) for slot in found.left),
        skipped=tuple(found.skipped),
        pruned=tuple(found.pruned),
        uncounted=tuple(key_of(slot) for slot in found.uncounted),
        casts=tuple(casts),
        warnings=warned,
    )
