"""Predictions as text: a block for each picture, or of many that are classified, one line for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from archc.document.diagnostics import visible
from archc.reporting.console import line

if TYPE_CHECKING:
    from pathlib import Path

    from archc.prediction.classify import Classified, Prediction
    from archc.prediction.detect import Detected, Detection
    from archc.prediction.segment import Region, Segmented
    from archc.prediction.task import Kind


def printer(console: Console, kind: Kind, images: Iterable[Path], *, brief: bool = False) -> Callable[[Any], None]:
    """What prints a task's results, one after another. With `brief`, a classified picture has one line.

    `images` are all pictures that there will be, for the width of their column.
    """
    if kind == "classes" and brief:
        width = max((cell_len(visible(str(image))) for image in images), default=0)
        return lambda classified: _print_line(console, classified, width)
    blocks: dict[Kind, Callable[[Console, Any], None]]
    blocks = {"classes": _print_ranking, "mask": _print_mask, "boxes": _print_boxes}
    shown = 0

    def show(result: Any) -> None:
        nonlocal shown
        if shown:
            console.print()
        shown += 1
        blocks[kind](console, result)

    return show


def _print_line(console: Console, classified: Classified, width: int) -> None:
    """The picture and its most probable class."""
    best = classified.predictions[0]
    name = visible(str(classified.image))
    padding = " " * (width - cell_len(name))
    console.print(line((name, "bold"), f"{padding}  {best.probability:.3f}  ", _label(best)))


def _print_ranking(console: Console, classified: Classified) -> None:
    """The picture, and below it its most probable classes."""
    console.print(Text(visible(str(classified.image)), style="bold"))
    _print_rows(console, classified.predictions, [f"{found.probability:.3f}" for found in classified.predictions])


def _print_mask(console: Console, segmented: Segmented) -> None:
    """The picture, and below it the share of its pixels that each class covers."""
    _print_picture(console, segmented)
    _print_rows(console, segmented.classes, [f"{region.share:6.1%}" for region in segmented.classes])


def _print_boxes(console: Console, detected: Detected) -> None:
    """The picture, and below it each object's score, class and corners: x1, y1, x2, y2 in pixels."""
    _print_picture(console, detected)
    found = detected.detections
    label_width = max((cell_len(_label(detection)) for detection in found), default=0)
    corners = [[f"{side:.0f}" for side in detection.box] for detection in found]
    width = max((len(side) for box in corners for side in box), default=0)
    for detection, box in zip(found, corners, strict=True):
        label = _label(detection)
        padding = " " * (label_width - cell_len(label))
        sides = " ".join(f"{side:>{width}}" for side in box)
        console.print(line(f"  {detection.score:.3f}  {label}{padding}  ", (sides, "dim")))
    if not found:
        console.print(line((f"  no box scores {detected.threshold:g} or more", "dim")))


def _print_picture(console: Console, result: Segmented | Detected) -> None:
    width, height = result.picture.size
    console.print(line((visible(str(result.image)), "bold"), (f"  {width}×{height}", "dim")))


def _print_rows(console: Console, found: Sequence[Prediction | Region], numbers: Sequence[str]) -> None:
    """A line for each class: how much, and its name; the number of a class that has a name stands at the end."""
    width = max((cell_len(_label(one)) for one in found), default=0)
    for one, number in zip(found, numbers, strict=True):
        label = _label(one)
        index = f"{' ' * (width - cell_len(label))}  {one.index}" if one.name else ""
        console.print(line(f"  {number}  ", label, (index, "dim")))


def _label(found: Prediction | Region | Detection) -> str:
    return visible(found.name) if found.name else str(found.index)
