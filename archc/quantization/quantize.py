"""`archc.quantize`: a trained network in int8, judged on images, and written into a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archc.backends import emitter
from archc.document.diagnostics import Diagnostic, did_you_mean, fail, one_of
from archc.exporting.export import Exported, export, known_classes, target_of
from archc.exporting.network import Network, Size, open_network
from archc.files import replacing_all
from archc.ir.graph import Graph
from archc.ir.quantization import Quantization
from archc.ir.state import Array, State
from archc.prediction.sources import Images, collect
from archc.quantization import file as ranges_file
from archc.quantization.agreement import Agreement, compare, outputs_of
from archc.quantization.calibrate import DEFAULT, EQUALISE, Calibrated, calibrate, corrected, mirrored, plain, ready
from archc.quantization.ranges import METHODS, Method
from archc.quantization.rows import Row, outputs_in_int8, rows, sensitivity, worst_first
from archc.quantization.values import leaving, operations_of

if TYPE_CHECKING:
    from archc.quantization.agreement import Outputs

AUTO = "auto"


class Pictures:
    """Images as the network's input, with the labels that messages call them by."""

    def __init__(self, graph: Graph, images: Images) -> None:
        from archc.prediction.inputs import prepared

        sources = collect(images)
        self.labels = [str(source) for source in sources]
        self.input: Array = prepared(graph, [getattr(source, "image", source) for source in sources])


@dataclass(frozen=True)
class Judged:
    """How int8 compares with float on one set of images: simulated in torch, and by the written file in its runtime.

    `file` is None where no file was written or it cannot be run here; `unchecked` then says why.
    """

    simulated: Agreement
    file: Agreement | None = None
    unchecked: str = ""

    @property
    def best_known(self) -> Agreement:
        """The file's own agreement where it is known, else the simulation's."""
        return self.file or self.simulated

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        file = None if self.file is None else self.file.to_dict()
        return {"simulated": self.simulated.to_dict(), "file": file, "unchecked": self.unchecked or None}


@dataclass(frozen=True)
class Quantized:
    """A network in int8.

    `graph` and `state` are the rewritten network with its corrected weights, in float numbers; `quantization` says
    which values and weights are held in int8. `calibration` and `check` compare it with float on the two sets of
    images, None where there were none. `kept_float` are the rows that were left in float.
    """

    graph: Graph
    state: State
    quantization: Quantization
    method: Method
    rows: tuple[Row, ...]
    kept_float: tuple[str, ...]
    calibration: Judged | None
    check: Judged | None
    classes: tuple[str, ...] | None
    exported: Exported | None
    warnings: tuple[Diagnostic, ...]
    calibrated: Calibrated
    original: Network

    def save_ranges(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write `ranges.json`, from which every target can be written; see `archc.quantization.file`.

        Raises:
            FileExistsError: it exists, and may not be overwritten.
            OSError: it cannot be written.
        """
        ranges_file.save(self.calibrated, self.original, path, overwrite=overwrite)

    @property
    def float_bytes(self) -> int:
        """The weights in 32-bit floats."""
        return sum(row.float_bytes for row in self.rows)

    @property
    def bytes(self) -> int:
        """The weights as they are held."""
        return sum(row.bytes for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "network": self.graph.name,
            "method": self.method,
            "calibration_images": self.calibrated.images,
            "float_bytes": self.float_bytes,
            "bytes": self.bytes,
            "kept_float": list(self.kept_float),
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
            "check": None if self.check is None else self.check.to_dict(),
            "rows": [row.to_dict() for row in self.rows],
            "file": None if self.exported is None else self.exported.to_dict(),
        }


def quantize(
    network: Any,
    images: Images | None = None,
    *,
    to: str | None = None,
    path: str | PathLike[str] | None = None,
    weights: str | PathLike[str] | Mapping[str, Any] | None = None,
    state: State | None = None,
    seed: int | None = None,
    source: str = "auto",
    overrides: Sequence[str] = (),
    ranges: str | PathLike[str] | None = None,
    method: Method = DEFAULT,
    equalise: bool = False,
    check: Images | None = None,
    keep_float: str | Sequence[str] = (),
    min_agreement: float | None = None,
    by_row: bool = False,
    preprocess: bool = False,
    size: Size | None = None,
    batch: int | None = None,
    any_size: bool | None = None,
    classes: str | PathLike[str] | Sequence[str] | None = None,
    overwrite: bool = False,
    allow: str | Sequence[str] = (),
) -> Quantized:
    """Quantise a trained network; see `archc.quantize`."""
    target = _target(path, to, overwrite)
    kept = (keep_float,) if isinstance(keep_float, str) else tuple(keep_float)
    automatic = AUTO in kept
    _check_arguments(images, ranges, method, wanted=min_agreement, automatic=automatic, check=check)
    original = open_network(
        network, weights=weights, state=state, seed=seed, source=source, overrides=overrides, size=size, allow=allow
    )
    if size is not None and any_size is None:
        any_size = False
    prepared = ready(original, equalise=equalise)
    kept = tuple(name for name in kept if name != AUTO)
    _check_rows(prepared.graph, kept)
    calibration = None if images is None else Pictures(prepared.graph, images)
    checked = None if check is None else Pictures(prepared.graph, check)
    floats = operations_of(prepared.graph, kept)
    if ranges is not None:
        calibrated = ranges_file.read(ranges, original)
        prepared = ready(original, equalise=EQUALISE in calibrated.graph.transforms)
        calibrated = replace(calibrated, quantization=leaving(calibrated.graph, calibrated.quantization, floats))
    else:
        assert calibration is not None
        calibrated = calibrate(prepared, calibration.input, method=method, floats=floats)
    job = _Job(original, prepared, calibrated, calibration, checked)
    alone = job.sensitivity() if by_row or automatic else {}
    if automatic:
        assert min_agreement is not None
        kept += job.leave_worst(min_agreement, alone)
    names = known_classes(prepared.graph, classes)
    options: dict[str, Any] = {"batch": batch, "any_size": any_size, "classes": classes}
    if path is None or target is None:
        return job.finish(kept, alone, names=names, exported=None, staged=None, wanted=min_agreement)
    with replacing_all(Path(path), overwrite=overwrite) as staged:
        exported = job.write(staged, target, preprocess, options)
        quantized = job.finish(kept, alone, names=names, exported=exported, staged=staged, wanted=min_agreement)
    return replace(quantized, exported=replace(exported, path=Path(path)))


class _Job:
    """A network on its way to int8."""

    def __init__(
        self,
        original: Network,
        prepared: Network,
        calibrated: Calibrated,
        calibration: Pictures | None,
        checked: Pictures | None,
    ) -> None:
        self.original = original
        self.prepared = prepared
        self.calibrated = calibrated
        self.calibration = calibration
        self.checked = checked
        self.graph, self.exact = plain(prepared.graph, prepared.state)
        self._outputs: dict[int, Outputs] = {}

    @property
    def judging(self) -> Pictures | None:
        """The images that decide: those to check on, else those of the calibration."""
        return self.checked or self.calibration

    def float_outputs(self, pictures: Pictures) -> Outputs:
        """What the network returns in float."""
        from archc.backends.torch.interpret import Interpreter

        if id(pictures) not in self._outputs:
            self._outputs[id(pictures)] = outputs_of(Interpreter(self.graph, self.exact), pictures.input)
        return self._outputs[id(pictures)]

    def simulated(self, pictures: Pictures) -> Agreement:
        """The agreement of the network in int8, simulated in torch."""
        state = {key: self.calibrated.state[key] for key in self.exact}
        found = outputs_in_int8(self.graph, state, self.calibrated.quantization, pictures.input)
        return compare(self.graph, self.float_outputs(pictures), found, pictures.labels)

    def sensitivity(self) -> dict[str, Agreement]:
        """Every row alone in int8."""
        pictures = self.judging
        if pictures is None:
            raise ValueError("what a row loses is measured on images: give some to check on")
        return sensitivity(self.graph, self.exact, self.calibrated.quantization, pictures.input, pictures.labels)

    def leave_worst(self, wanted: float, alone: Mapping[str, Agreement]) -> tuple[str, ...]:
        """Leave the rows that lose most in float, one after the other, until enough predictions stay; their names."""
        pictures = self.judging
        assert pictures is not None
        left: list[str] = []
        for name in worst_first(alone):
            share = self.simulated(pictures).share
            if share is None or share >= wanted:
                break
            left.append(name)
            quantization = leaving(self.graph, self.calibrated.quantization, operations_of(self.graph, [name]))
            # Biases were corrected for the row in int8, so they are corrected anew.
            fresh = replace(self.calibrated, state=self.prepared.state, quantization=quantization)
            self.calibrated = (
                corrected(fresh, mirrored(self.calibration.input))
                if self.calibration
                else replace(self.calibrated, quantization=quantization)
            )
        return tuple(left)

    def write(self, staged: Path, target: str, preprocess: bool, options: Mapping[str, Any]) -> Exported:
        """Write the file. It is checked by `finish`, on images."""
        graph, state, quantization = self.calibrated.graph, self.calibrated.state, self.calibrated.quantization
        if preprocess:
            from archc.quantization.pixels import with_pixels

            graph, state, quantization = with_pixels(graph, state, quantization)
        return export(
            graph, staged, to=target, state=state, precision="int8", quantization=quantization, check=False, **options
        )

    def finish(
        self,
        kept: tuple[str, ...],
        alone: Mapping[str, Agreement],
        *,
        names: tuple[str, ...] | None,
        exported: Exported | None,
        staged: Path | None,
        wanted: float | None,
    ) -> Quantized:
        """Judge the network, and the file.

        Raises:
            SpecError: `low-agreement`: fewer predictions stay than were wanted.
        """
        state = {key: self.calibrated.state[key] for key in self.exact}
        pictures = self.judging
        given = (
            ()
            if pictures is None
            else rows(self.graph, self.exact, state, self.calibrated.quantization, pictures.input, alone=alone)
        )
        judged = [
            None if each is None else self._judge(each, exported, staged) for each in (self.calibration, self.checked)
        ]
        found = Quantized(
            self.calibrated.graph,
            self.calibrated.state,
            self.calibrated.quantization,
            self.calibrated.method,
            given,
            kept,
            judged[0],
            judged[1],
            names,
            exported,
            self.original.warnings,
            self.calibrated,
            self.original,
        )
        if wanted is not None:
            self._demand(found, wanted)
        return replace(found, warnings=(*found.warnings, *_changes(found)))

    def _judge(self, pictures: Pictures, exported: Exported | None, staged: Path | None) -> Judged:
        simulated = self.simulated(pictures)
        if exported is None or staged is None:
            return Judged(simulated, None, "no file was written")
        from archc.extras import MissingExtraError
        from archc.quantization.run import run_file

        try:
            found = run_file(staged, exported, self.original.graph, pictures.input)
        except MissingExtraError as error:
            return Judged(simulated, None, str(error))
        if found is None:
            return Judged(simulated, None, "the file returns boxes")
        return Judged(simulated, compare(self.graph, self.float_outputs(pictures), found, pictures.labels))

    def _demand(self, found: Quantized, wanted: float) -> None:
        judged = found.check or found.calibration
        assert judged is not None
        pictures = self.judging
        agreement = judged.best_known
        if agreement.share is None:
            raise fail("low-agreement", f"`{self.graph.name}` returns no scores of classes, so nothing can agree")
        if agreement.share >= wanted:
            return
        assert pictures is not None
        alone = {row.name: row.alone for row in found.rows if row.alone is not None} or self.sensitivity()
        blamed = worst_first(alone)[:3]
        rows_named = ", ".join(f"`{name}` (cosine {alone[name].cosine:.4f})" for name in blamed)
        message = (
            f"{agreement.same:g} of {agreement.images} images keep their class in int8, "
            f"{agreement.share:.1%}; {wanted:.1%} was asked for"
        )
        help = '`keep_float="auto"` leaves rows in float until enough of them do (`--keep-float auto`)'
        notes = (f"rows that lose most alone in int8: {rows_named}",)
        raise fail("low-agreement", message, help=help, notes=notes)


def _changes(found: Quantized) -> list[Diagnostic]:
    """A warning for every image whose class is another one in int8."""
    warned: dict[str, Diagnostic] = {}
    for judged in (found.calibration, found.check):
        for change in () if judged is None else judged.best_known.changes:
            was, now = (_name(found.classes, number) for number in (change.was, change.now))
            message = (
                f"int8 changes `{change.image}`: "
                f"{was} ({change.probability:.3f}) → {now} ({change.new_probability:.3f})"
            )
            help = "`--keep-float` leaves rows in float; `--sensitivity` shows which ones lose most"
            warned[message] = Diagnostic("prediction-changed", message, severity="warning", help=help)
    return list(warned.values())


def _name(classes: Sequence[str] | None, number: int) -> str:
    return f"class {number}" if classes is None or number >= len(classes) else classes[number]


def _target(path: str | PathLike[str] | None, to: str | None, overwrite: bool) -> str | None:
    """The target, after a look at what can be known to fail before any work."""
    if path is None:
        if to is not None:
            raise ValueError("a target needs a file: give its `path` too")
        return None
    target = target_of(Path(path), to)
    library = emitter(target)
    if "int8" not in library.precisions:
        message = f"{library.name} files cannot have the precision `int8`"
        raise fail("unsupported-form", message, help=one_of(library.precisions))
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(17, "File exists", str(path))
    return target


def _check_arguments(
    images: Images | None,
    ranges: str | PathLike[str] | None,
    method: str,
    *,
    wanted: float | None,
    automatic: bool,
    check: Images | None,
) -> None:
    if images is None and ranges is None:
        raise ValueError("int8 needs images to calibrate on, or `ranges` from an earlier calibration")
    if method not in METHODS:
        raise ValueError(
            f"there is no method {method!r} for ranges: {did_you_mean(method, METHODS) or one_of(METHODS)}"
        )
    if wanted is not None and not 0 < wanted <= 1:
        raise ValueError(f"`min_agreement` is a share from 0 to 1, not {wanted:g}")
    if automatic and wanted is None:
        raise ValueError('`keep_float="auto"` needs `min_agreement`, the share of predictions to keep')
    if (wanted is not None or automatic) and images is None and check is None:
        raise ValueError("agreement is measured on images: give some to check on")


def _check_rows(graph: Graph, kept: Sequence[str]) -> None:
    for name in kept:
        if name not in graph.region:
            hint = did_you_mean(name, graph.region) or one_of(list(graph.region))
            raise fail("unknown-row", f"`{graph.name}` has no row `{name}` to keep in float", help=hint)
