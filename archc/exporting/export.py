"""`archc.export`: a trained network into a file, and the file checked against the network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archc.backends import BACKENDS, check_target, emitter
from archc.backends.protocol import Emitter, Form, Precision
from archc.document.diagnostics import Diagnostic, fail, one_of
from archc.exporting.metadata import metadata
from archc.exporting.network import Size, open_network
from archc.files import replacing_all
from archc.ir.graph import Graph
from archc.ir.quantization import Quantization
from archc.ir.state import State
from archc.language.schema import Spec
from archc.prediction.errors import PredictionError
from archc.prediction.task import task_of

if TYPE_CHECKING:
    from archc.exporting.check import Comparison
    from archc.prediction.sources import Images

INFERENCE = "inference"
PREPROCESS = "preprocess"


@dataclass(frozen=True)
class Exported:
    """A file that was written. `size` is in bytes.

    `checked` says how far its outputs are from the network's; None where it was not run, and `unchecked` says why.
    """

    path: Path
    target: str
    form: Form
    graph: Graph
    size: int
    checked: Comparison | None = None
    unchecked: str = ""
    warnings: tuple[Diagnostic, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "path": str(self.path),
            "target": self.target,
            "precision": self.form.precision,
            "batch": self.form.batch,
            "any_size": self.form.any_size,
            "bytes": self.size,
            "check": None if self.checked is None else self.checked.to_dict(),
            "unchecked": self.unchecked or None,
        }


def target_of(path: Path, target: str | None) -> str:
    """The target that is meant: the one that was named, or that of the file's suffix.

    Raises:
        ValueError: there is no such target, or its files have another suffix.
    """
    suffixes = {entry.suffix: name for name, entry in BACKENDS.items() if entry.suffix}
    if target is None:
        if path.suffix not in suffixes:
            raise ValueError(f"no target writes files like `{path}`: its suffix must be {one_of(suffixes)}")
        return suffixes[path.suffix]
    check_target(target)
    if path.suffix != BACKENDS[target].suffix:
        raise ValueError(f"`{path}` does not end in `{BACKENDS[target].suffix}`, as the files of {target} do")
    return target


def form_of(
    library: Emitter,
    graph: Graph,
    *,
    precision: Precision = "f32",
    batch: int | None = None,
    any_size: bool | None = None,
    quantization: Quantization | None = None,
    boxes: bool = False,
    classes: Sequence[str] | None = None,
) -> Form:
    """The form of a file; `any_size` None stands for what the target and the network allow.

    A file that returns boxes takes one image at a time, of the network's size.

    Raises:
        SpecError: `unsupported-form`.
    """
    if precision not in library.precisions:
        known = one_of(library.precisions)
        raise fail("unsupported-form", f"{library.name} files cannot have the precision `{precision}`", help=known)
    if (precision == "int8") != (quantization is not None):
        message = "int8 needs the ranges of a network's values"
        raise fail("unsupported-form", message, help="`archc quantize` gathers them from images")
    if batch is not None and batch < 1:
        raise ValueError(f"`batch` must be 1 or more, not {batch}")
    if boxes and graph.detector is None:
        message = f"`{graph.name}` is no detector, so its file cannot return boxes"
        raise fail("unsupported-form", message, help="leave `nms` out")
    if boxes and (batch not in (None, 1) or any_size):
        message = "a file with boxes takes one image at a time, of one size: images have different numbers of boxes"
        raise fail("unsupported-form", message, help="leave the batch and the size out, or `nms`")
    if boxes:
        batch, any_size = 1, False
    fits = library.any_size(graph)
    if any_size and not fits:
        message = f"a file of {library.name}'s for `{graph.name}` takes images of one size only"
        raise fail("unsupported-form", message, help="leave the size out, or name one")
    return Form(
        precision,
        batch,
        fits and not library.prefers_one_size if any_size is None else any_size,
        quantization,
        boxes,
        metadata(graph, classes, precision),
    )


def known_classes(graph: Graph, stated: str | PathLike[str] | Sequence[str] | None) -> tuple[str, ...] | None:
    """The names of a network's classes: those that were stated, or a known dataset's; None where nothing is known.

    Raises:
        PredictionError: names that do not fit the network.
    """
    from archc.prediction.class_names import class_names

    try:
        task = task_of(graph, graph.spec if isinstance(graph.spec, Spec) else None)
        return class_names(stated, task.kind, task.classes)
    except (PredictionError, ModuleNotFoundError):
        if stated is not None:
            raise
        return None  # features have no classes; the names of datasets need torchvision


def export(
    network: Any,
    path: str | PathLike[str],
    *,
    to: str | None = None,
    weights: str | PathLike[str] | Mapping[str, Any] | None = None,
    state: State | None = None,
    seed: int | None = None,
    source: str = "auto",
    overrides: Sequence[str] = (),
    precision: Precision = "f32",
    quantization: Quantization | None = None,
    preprocess: bool = False,
    size: Size | None = None,
    any_size: bool | None = None,
    batch: int | None = None,
    nms: bool = False,
    classes: str | PathLike[str] | Sequence[str] | None = None,
    check: bool | Images = True,
    overwrite: bool = False,
    allow: str | Sequence[str] = (),
) -> Exported:
    """Write a trained network into a file for a runtime; see `archc.export`."""
    file = Path(path)
    target = target_of(file, to)
    library = emitter(target)
    if os.path.lexists(file) and not overwrite:
        raise FileExistsError(17, "File exists", str(file))
    opened = open_network(
        network,
        weights=weights,
        state=state,
        seed=seed,
        source=source,
        overrides=overrides,
        size=size,
        allow=allow,
    )
    if size is not None and any_size is None:
        any_size = False
    final = opened.rewritten([INFERENCE] * (INFERENCE not in opened.graph.transforms) + [PREPROCESS] * preprocess)
    form = form_of(
        library,
        final.graph,
        precision=precision,
        batch=batch,
        any_size=any_size,
        quantization=quantization,
        boxes=nms,
        classes=known_classes(final.graph, classes),
    )
    library.require(final.graph)
    with replacing_all(file, overwrite=overwrite) as staged:
        library.emit(final.graph, final.state, staged, form)
        checked, unchecked = None, "not asked for"
        if check is not False:
            from archc.exporting.check import compare_or_reason

            images = None if check is True else check
            checked, unchecked = compare_or_reason(opened, final.graph, staged, form, images)
        written = sum(part.stat().st_size for part in staged.parent.rglob("*") if part.is_file())
    return Exported(file, target, form, final.graph, written, checked, unchecked, opened.warnings)
