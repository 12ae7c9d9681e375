"""A network with its weights as a predictor: the module is built, loaded, and joined with its task."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import nn

from archc.analysis.sizes import refuses
from archc.backends import builder, of
from archc.document.diagnostics import Diagnostic, no_python_warnings
from archc.ir.graph import Graph
from archc.prediction.boxes import ObjectDetector
from archc.prediction.class_names import class_names
from archc.prediction.classify import DEFAULT_TOP, Classifier
from archc.prediction.errors import PredictionError
from archc.prediction.predictor import Predictor
from archc.prediction.scores import Boxes, KerasScores, Scores, TorchBoxes, TorchScores
from archc.prediction.segment import Segmenter
from archc.prediction.task import Kind, Task
from archc.prediction.thresholds import default_threshold, own_threshold
from archc.weights.carrying.load import load_weights
from archc.weights.carrying.read import rewritten


class Loaded(NamedTuple):
    """A network that is ready to predict. `warnings` say how it differs from the one that was trained."""

    predictor: Predictor[Any]
    warnings: tuple[Diagnostic, ...] = ()


class Options(NamedTuple):
    """What to predict; None stands for an option's default."""

    top: int | None = None
    threshold: float | None = None
    classes: str | PathLike[str] | Sequence[str] | None = None


_USES: Final[Mapping[str, tuple[tuple[Kind, ...], str]]] = {
    "top": (("classes", "boxes"), "limits the classes of an image, or the boxes in it"),
    "threshold": (("boxes",), "leaves out boxes"),
    "output": (("mask", "boxes"), "draws masks or boxes"),
}
_DOES: Final[Mapping[Kind, str]] = {
    "classes": "classifies images",
    "mask": "gives each pixel its class",
    "boxes": "puts boxes around objects",
}


def unused_option(kind: Kind, network: str, given: Mapping[str, str]) -> str:
    """Why an option does not fit the task, or an empty text where all do.

    `given` maps the options that were given to the way they were written.
    """
    for option, written in given.items():
        kinds, use = _USES[option]
        if kind not in kinds:
            return f"`{written}` {use}, but `{network}` {_DOES[kind]}"
    return ""


def default_batch(kind: Kind) -> int:
    """Default `--batch-size`."""
    return 32 if kind == "classes" else 1


def from_checkpoint(graph: Graph, task: Task, checkpoint: Path, options: Options, device: str = "cpu") -> Loaded:
    """The predictor of a graph with the weights in a file. Keras runs a `.keras` file, torch all others.

    If the file holds the weights of a network that transforms have rewritten, the graph is rewritten in the same way.

    Raises:
        PredictionError: class names that do not fit, or a device that cannot be used.
        WeightsError: a checkpoint that cannot be read, or does not fit.
        MissingExtraError: Keras is not installed.
    """
    names = class_names(options.classes, task.kind, task.classes)
    graph = rewritten(graph, checkpoint)
    if task.kind != "boxes" and checkpoint.suffix == ".keras":
        from archc.backends import keras

        try:
            with keras.on_device(device):
                model = builder("keras").build(graph, seed=0)
                found = _load(model, checkpoint)
        except keras.NoDeviceError as error:
            raise _no_device(device, str(error)) from None
        return Loaded(predictor(graph, task, KerasScores(model, device, task.output), names, options), found)
    place = usable(device)
    # Nothing is drawn that the checkpoint would overwrite.
    module = builder("torch").build(graph, device="meta")
    found = _load(module, checkpoint)
    return Loaded(predictor(graph, task, _torch(module, task, place), names, options), found)


def from_model(
    model: Any, graph: Graph, task: Task, options: Options, device: torch.device | str | None
) -> Predictor[Any]:
    """The predictor of a built network, with the weights that it has; a torch module is put in evaluation mode.

    Without a `device`, the network stays where it is; with one, a copy of a torch module is moved there.

    Raises:
        PredictionError: class names that do not fit, a threshold below the detector's own, a detector's plain network,
            a module on the meta device, or a device that cannot be used, such as any for a Keras model, which Keras
            places itself.
    """
    names = class_names(options.classes, task.kind, task.classes)
    check_threshold(graph, options.threshold)
    backend = of(model)
    if task.kind == "boxes" and backend is not None and not backend.detects:
        message = f"the {backend.name} model of `{graph.name}` returns the raw predictions of its heads, not boxes"
        raise PredictionError(Diagnostic("not-a-classifier", message, help="build the detector with torch"))
    if backend is not None and backend.name == "keras":
        if device is not None:
            raise _no_device(str(device), "Keras places a model itself; leave `device` out")
        return predictor(graph, task, KerasScores(model, None, task.output), names, options)
    home = next((value.device for value in model.parameters()), torch.device("cpu"))
    if home.type == "meta":
        message = f"`{graph.name}` is on the meta device, so it has no weights"
        raise PredictionError(Diagnostic("no-weights", message, help="load weights into it first"))
    place = home if device is None else usable(device)
    if place != home:
        model = copy.deepcopy(model)
    return predictor(graph, task, _torch(model, task, place), names, options)


def check_threshold(graph: Graph, threshold: float | None) -> None:
    """Refuse a threshold that a built detector cannot honour: it has dropped lower boxes itself."""
    detector = graph.detector
    if threshold is None or detector is None:
        return
    own = own_threshold(detector)
    if threshold < own.score:
        message = f"the detector itself drops boxes that score less than {own.score:g}, so `threshold` cannot be lower"
        raise PredictionError(Diagnostic("unused-option", message, help=f"build it with `{own.key}={threshold:g}`"))


def _load(model: Any, checkpoint: Path) -> tuple[Diagnostic, ...]:
    with no_python_warnings():  # the report has them
        return tuple(load_weights(model, checkpoint).warnings)


def _torch(module: nn.Module, task: Task, device: torch.device) -> Scores | Boxes:
    return TorchBoxes(module, device) if task.kind == "boxes" else TorchScores(module, device, task.output)


def predictor(
    graph: Graph,
    task: Task,
    network: Any,
    names: Sequence[str] | None,
    options: Options,
    *,
    stretched: bool = False,
) -> Predictor[Any]:
    """A network's task, as its graph says, with `network` as its `Scores` or `Boxes`.

    Raises:
        PredictionError: `not-a-classifier`: images of another number of channels, or no preprocessing is known.
    """
    preprocessing = graph.preprocessing
    if preprocessing is None:
        message = f"`{graph.name}` does not say how images become its input"
        raise PredictionError(Diagnostic("not-a-classifier", message))
    if task.kind == "boxes":
        threshold = default_threshold(graph.detector) if options.threshold is None else options.threshold
        return ObjectDetector(network, preprocessing, names, threshold, options.top)
    if task.kind == "mask":
        return Segmenter(network, preprocessing, names, partial(refuses, graph), stretched=stretched)
    return Classifier(network, preprocessing, names, options.top or DEFAULT_TOP)


def usable(device: torch.device | str) -> torch.device:
    """A torch device, tried out.

    Raises:
        PredictionError: it cannot be used.
    """
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's several ways to refuse
        raise _no_device(str(device), str(error).partition("\n")[0]) from None
    return found


def _no_device(device: str, reason: str) -> PredictionError:
    return PredictionError(Diagnostic("no-device", f"`{device}` cannot be used here: {reason}"))


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Put a torch module in evaluation mode, and every part of it back in its own mode at the end."""
    training = [module for module in model.modules() if module.training] if isinstance(model, nn.Module) else []
    try:
        yield
    finally:
        for module in training:
            module.training = True
