"""`archc.predict`: a network and images in, one result for each image out."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archc.blocks.lower import lower
from archc.document.diagnostics import Diagnostic, SpecWarning
from archc.ir.graph import Graph
from archc.language.schema import Spec
from archc.prediction.errors import PredictionError, PredictionWarning
from archc.prediction.exported import from_exported, is_exported, open_exported
from archc.prediction.libraries import check_libraries
from archc.prediction.results import Classified, Detected, Segmented, Skipped
from archc.prediction.sources import Images, ImageSource, collect
from archc.prediction.task import Task, task_of
from archc.prediction.thresholds import keeping
from archc.prediction.trained import find
from archc.weights.error import WeightsWarning

if TYPE_CHECKING:
    import torch

    from archc.prediction.network import Options
    from archc.prediction.predictor import Predictor

Answer = Classified | Segmented | Detected | Skipped


def predict(
    model_or_path: Any,
    images: Images,
    *,
    weights: str | PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    top: int | None = None,
    threshold: float | None = None,
    classes: str | PathLike[str] | Sequence[str] | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    allow: str | Sequence[str] = (),
) -> list[Answer]:
    """Predict what is in images; see `archc.predict`."""
    check_libraries()
    from archc.backends import of
    from archc.prediction.network import Options, evaluating, from_model
    from archc.weights.carrying.network import Network

    _check_numbers(top, threshold, batch_size)
    sources = collect(images)
    options = Options(top, threshold, classes)
    if is_exported(model_or_path):
        if weights is not None or overrides:
            raise ValueError("an exported file has its weights and settings: leave `weights` and `overrides` out")
        return _from_file(model_or_path, options, sources, batch_size, device)
    backend = of(model_or_path)
    keras = backend is not None and backend.name == "keras"
    if not keras and not isinstance(model_or_path, sys.modules["torch"].nn.Module):
        graph, spec, checkpoint = _named(model_or_path, overrides, weights, threshold, allow)
        task = _task(graph, spec, options)
        return _run(_load(graph, task, checkpoint, options, device), task, sources, batch_size)
    if weights is not None or overrides:
        raise ValueError("a built network has its weights and settings: leave `weights` and `overrides` out")
    graph = Network.open(model_or_path).graph
    task = _task(graph, None, options)
    with evaluating(model_or_path):
        return _run(from_model(model_or_path, graph, task, options, device), task, sources, batch_size)


def _named(
    network: Any,
    overrides: Sequence[str],
    weights: str | PathLike[str] | None,
    threshold: float | None,
    allow: str | Sequence[str],
) -> tuple[Graph, Spec | None, Path]:
    """The graph of a network that is not built yet, the spec it comes from, and its checkpoint."""
    if isinstance(network, Graph | Spec):
        if overrides:
            raise ValueError("`overrides` go with a path, a name or a mapping; a spec has its own `override`")
        if weights is None:
            message = f"`{network.name}` has no weights, and a network that was never trained predicts nothing of use"
            raise PredictionError(Diagnostic("no-weights", message, help="name a checkpoint: `weights=FILE`"))
        if isinstance(network, Graph):
            return keeping(network, threshold), None, Path(weights)
        spec, checkpoint = network, Path(weights)
    elif isinstance(network, str | PathLike | Mapping):
        spec, checkpoint, found = find(network, overrides, weights, allow=allow)
        _warn(found, SpecWarning)
    else:
        kind = type(network).__name__
        raise TypeError(f"a network is what `archc.build` returned, a path, a name, a spec or a graph, not a `{kind}`")
    return keeping(lower(spec), threshold), spec, checkpoint


def _from_file(
    path: str | PathLike[str],
    options: Options,
    sources: Sequence[ImageSource],
    batch_size: int | None,
    device: torch.device | str | None,
) -> list[Answer]:
    file = open_exported(path)
    _check_options(file.task, file.graph, options)
    loaded = from_exported(file, options, None if device is None else str(device))
    _warn(loaded.warnings, PredictionWarning)
    return _run(loaded.predictor, file.task, sources, batch_size)


def _task(graph: Graph, spec: Spec | None, options: Options) -> Task:
    task = task_of(graph, spec)
    _check_options(task, graph, options)
    return task


def _check_options(task: Task, graph: Graph, options: Options) -> None:
    from archc.prediction.network import unused_option

    given = {name: name for name in ("top", "threshold") if getattr(options, name) is not None}
    if reason := unused_option(task.kind, graph.name, given):
        raise PredictionError(Diagnostic("unused-option", reason))


def _load(
    graph: Graph, task: Task, checkpoint: Path, options: Options, device: torch.device | str | None
) -> Predictor[Answer]:
    from archc.prediction.network import from_checkpoint

    loaded = from_checkpoint(graph, task, checkpoint, options, "cpu" if device is None else str(device))
    _warn(loaded.warnings, WeightsWarning)
    return loaded.predictor


def _run(
    predictor: Predictor[Answer], task: Task, sources: Sequence[ImageSource], batch_size: int | None
) -> list[Answer]:
    from archc.prediction.network import default_batch
    from archc.prediction.predictor import run

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files; what makes one unusable is an error
        return list(run(predictor, sources, batch_size or default_batch(task.kind)))


def _check_numbers(top: int | None, threshold: float | None, batch_size: int | None) -> None:
    for name, value in (("top", top), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise ValueError(f"`{name}` must be 1 or more, not {value}")
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"`threshold` must be from 0 to 1, not {threshold}")


def _warn(found: Sequence[Diagnostic], category: type[Warning]) -> None:
    for warning in found:
        warnings.warn(str(warning), category, stacklevel=5)
