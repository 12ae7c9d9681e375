"""From a network's spec and its checkpoint to a task that can be run on pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from archc.ir.graph import Graph
    from archc.language.schema import Spec
    from archc.prediction.runner import Runner
    from archc.prediction.scores import Scores
    from archc.prediction.task import Task

NO_NAMES = "none"
CLASSES = 5
"""Classes of a picture that are told unless asked otherwise."""


def trained(
    spec: Spec,
    graph: Graph,
    task: Task,
    checkpoint: Path,
    *,
    classes: str | None,
    top: int | None,
    threshold: float | None,
    device: str,
) -> Runner[Any]:
    """A task with its network, weights and all; None stands for an option's default.

    Raises:
        UsageError: a library that is not installed, or a device that cannot be used.
        TaskError: class names that do not fit.
        WeightsError: a checkpoint that does not fit.
    """
    from archc.extras import require

    torch = require("torch", "predict")
    require("torchvision", "predict")
    from archc.prediction.class_names import names_for, read_names
    from archc.prediction.classify import Classifier
    from archc.prediction.detect import Detector
    from archc.prediction.scores import TorchBoxes
    from archc.prediction.segment import Segmenter

    if classes is None:
        names = names_for(task.kind, task.classes)
    else:
        names = None if classes == NO_NAMES else read_names(Path(classes), task.classes)
    if task.kind == "boxes":
        boxes = TorchBoxes(_module(graph, checkpoint), _device(torch, device))
        return Detector(boxes, spec.input, names, _least(spec) if threshold is None else threshold, top)
    scores = _scores(torch, graph, task, checkpoint, device)
    if task.kind == "mask":
        return Segmenter(scores, spec.input, names, partial(_refuses, spec))
    return Classifier(scores, spec.input, names, top or CLASSES)


def keeping(spec: Spec, threshold: float | None) -> Spec:
    """The spec, whose detector, if it has one, does not drop by itself what is asked for."""
    if threshold is None or spec.detector is None:
        return spec
    from archc.prediction.detect import own_threshold

    own = own_threshold(spec.detector)
    return spec.override({own.key: threshold}) if threshold < own.score else spec


def _least(spec: Spec) -> float:
    """The score that boxes need to be told, where none is asked for."""
    from archc.prediction.detect import THRESHOLD, own_threshold

    return max(THRESHOLD, own_threshold(spec.detector).score) if spec.detector else THRESHOLD


def _refuses(spec: Spec, height: int, width: int) -> str:
    """Why the network cannot take an input of this size; empty where it can."""
    from archc.blocks.lower import lower
    from archc.document.diagnostics import SpecError

    try:
        lower(spec.override({"input.size": [height, width]}))
    except SpecError as error:
        return error.diagnostics[0].message
    return ""


def _scores(torch: Any, graph: Graph, task: Task, checkpoint: Path, device: str) -> Scores:
    """The network with its weights, run by Keras where a file of Keras's holds them."""
    from archc.prediction.scores import KerasScores, TorchScores
    from archc.weights import keras_file

    if not keras_file.named_by(checkpoint):
        place = _device(torch, device)
        return TorchScores(_module(graph, checkpoint), place, task.output)
    import archc
    from archc.cli.backends import keras

    backend = keras()
    try:
        with backend.on_device(device):
            model = archc.build(graph, backend="keras", seed=0)
            archc.load_weights(model, checkpoint)
    except backend.NoDeviceError as error:
        raise click.BadParameter(f"`{device}` cannot be used here: {error}", param_hint="'--device'") from None
    return KerasScores(model, device, task.output)


def _module(graph: Graph, checkpoint: Path) -> Any:
    import archc
    from archc.cli.loading import load_weights
    from archc.cli.output import show_diagnostics

    model = archc.build(graph, device="meta")  # nothing is drawn that the checkpoint would overwrite
    show_diagnostics(load_weights(model, checkpoint).warnings)
    return model


def _device(torch: Any, name: str) -> Any:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's several ways to say no
        reason = str(error).partition("\n")[0]
        raise click.BadParameter(f"`{name}` cannot be used here: {reason}", param_hint="'--device'") from None
    return device
