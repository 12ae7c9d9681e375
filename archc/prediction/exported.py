"""An exported file as a predictor: a runtime runs it, and what it states about itself says the rest."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from archc.backends.protocol import BOXES
from archc.document.diagnostics import Diagnostic, SpecError
from archc.ir.graph import Graph
from archc.ir.ops import Image, Input
from archc.prediction.errors import PredictionError
from archc.prediction.task import Task, task_of
from archc.runtimes import SUFFIXES, open_file
from archc.runtimes.metadata import classes
from archc.runtimes.protocol import Session
from archc.transforms.provenance import stated

if TYPE_CHECKING:
    from archc.prediction.network import Loaded, Options


class ExportedFile(NamedTuple):
    """An opened file and its network, as it was exported. `names` are those of the classes, if the file states them."""

    path: Path
    session: Session
    graph: Graph
    task: Task
    names: tuple[str, ...] | None


def is_exported(network: Any) -> bool:
    """Whether this names a file that a runtime runs, by its suffix."""
    return isinstance(network, str | PathLike) and Path(str(fspath(network))).suffix in SUFFIXES


def open_exported(path: str | PathLike[str]) -> ExportedFile:
    """Open a file that `archc.export` wrote.

    Raises:
        PredictionError: `exported-file`: it is damaged, states no network, or not the one that is in it, or returns a
            detector's raw predictions; `not-a-classifier`.
        MissingExtraError: its runtime's library is not installed.
        OSError: it cannot be read.
    """
    file = Path(path)
    try:
        session = open_file(file)
        graph, names = stated(session.metadata), classes(session.metadata)
    except (SpecError, ValueError) as error:
        raise _refused(str(error).partition("\n")[0] if isinstance(error, SpecError) else str(error)) from None
    if graph is None:
        raise _refused(
            f"`{file}` does not say which network it holds, so nothing is known of its input and its classes",
            "only files that archc exported say so; predict with the network itself: SPEC --weights FILE",
        )
    if graph.detector is not None and set(session.outputs) != set(BOXES):
        raise _raw(file)
    _check(file, session, graph)
    task = task_of(graph)
    if names is not None and len(names) != task.classes:
        raise _refused(f"`{file}` names {len(names):,} classes, but its network has {task.classes:,}")
    return ExportedFile(file, session, graph, task, names)


def from_exported(file: ExportedFile, options: Options, device: str | None = None) -> Loaded:
    """The predictor of an exported file.

    A file that takes pixels gets pixels. Where it takes a fixed number of images, the last ones are repeated to fill
    it. A file for masks that takes images of one size gets the whole image stretched to that size, so that every pixel
    has its class; a warning says so. A detector's file gets images as `FileBoxes` says.

    Raises:
        PredictionError: class names that do not fit, a threshold below the detector's own, or another device than the
            CPU.
    """
    from archc.prediction.class_names import class_names
    from archc.prediction.file_boxes import FileBoxes
    from archc.prediction.inputs import of_pixels
    from archc.prediction.network import Loaded, check_threshold, predictor
    from archc.prediction.scores import FileScores

    if device not in (None, "cpu"):
        message = f"`{device}` cannot be used here: exported files run on the CPU"
        raise PredictionError(Diagnostic("no-device", message))
    graph, session, task = file.graph, file.session, file.task
    if session.input.dtype == "uint8" and graph.preprocessing is not None:
        graph = replace(graph, preprocessing=of_pixels(graph.preprocessing))
    own = options.classes is None and file.names is not None
    names = file.names if own else class_names(options.classes, task.kind, task.classes)
    stretched = task.kind == "mask" and None not in session.input.shape[2:]
    if task.kind == "boxes":
        check_threshold(graph, options.threshold)
        network: FileScores | FileBoxes = FileBoxes(session, file.graph)
    else:
        network = FileScores(session, task.output or next(iter(graph.outputs)))
    return Loaded(
        predictor(graph, task, network, names, options, stretched=stretched),
        (_stretches(file),) if stretched else (),
    )


def _stretches(file: ExportedFile) -> Diagnostic:
    *_, height, width = file.session.input.shape
    message = f"`{file.path}` takes images of {width}×{height} only: others are stretched to that"
    help = "a file for any size, where the target has them, keeps proportions"
    return Diagnostic("stretched-image", message, help=help, severity="warning")


def _check(file: Path, session: Session, graph: Graph) -> None:
    """Check that a file's input and outputs are those of the network that it states."""
    shape, dtype = graph.input.shape, graph.input.op
    assert isinstance(shape, Image)
    assert isinstance(dtype, Input)
    _, *sizes = session.input.shape
    fits = len(sizes) == 3 and all(size in (None, own) for size, own in zip(sizes, shape, strict=True))
    outputs = set(graph.outputs if graph.detector is None else BOXES)
    if not fits or session.input.dtype != dtype.dtype or set(session.outputs) != outputs:
        raise _refused(
            f"`{file}` is not the network that it states: its input or its outputs are others",
            "export the network again",
        )


def _raw(file: Path) -> PredictionError:
    message = f"`{file}` returns the raw predictions of a detector's heads, not boxes"
    return _refused(
        message, "export it with `--nms` for boxes, or predict with the detector itself: SPEC --weights FILE"
    )


def _refused(message: str, help: str = "") -> PredictionError:
    return PredictionError(Diagnostic("exported-file", message, help=help))
