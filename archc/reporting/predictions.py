"""Predictions as text: a block for each image, or a line for each of many classified images."""

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

    from archc.prediction.results import ClassArea, Classified, Detected, Detection, Prediction, Segmented
    from archc.prediction.task import Kind


def printer(console: Console, kind: Kind, images: Iterable[Path], *, brief: bool = False) -> Callable[[Any], None]:
    """A function that prints the results of a task, one after another. With `brief`, a classified image takes one line.

    `images` are all images to come; the longest name sets the width of their column.
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
    """The image and its most probable class, on one line."""
    best = classified.predictions[0]
    name = visible(str(classified.path))
    padding = " " * (width - cell_len(name))
    console.print(line((name, "bold"), f"{padding}  {best.probability:.3f}  ", _label(best)))


def _print_ranking(console: Console, classified: Classified) -> None:
    """The image, and below it its most probable classes."""
    console.print(Text(visible(str(classified.path)), style="bold"))
    _print_rows(console, classified.predictions, [f"{found.probability:.3f}" for found in classified.predictions])


def _print_mask(console: Console, segmented: Segmented) -> None:
    """The image, and below it each class with its share of the pixels."""
    _print_image(console, segmented)
    _print_rows(console, segmented.classes, [f"{area.share:6.1%}" for area in segmented.classes])


def _print_boxes(console: Console, detected: Detected) -> None:
    """The image, and below it each object's score, class and box: x1, y1, x2, y2 in pixels."""
    _print_image(console, detected)
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


def _print_image(console: Console, result: Segmented | Detected) -> None:
    width, height = result.image.size
    console.print(line((visible(str(result.path)), "bold"), (f"  {width}×{height}", "dim")))


def _print_rows(console: Console, found: Sequence[Prediction | ClassArea], numbers: Sequence[str]) -> None:
    """A line for each class: its share or probability, its name, and its number."""
    width = max((cell_len(_label(one)) for one in found), default=0)
    for one, number in zip(found, numbers, strict=True):
        label = _label(one)
        index = f"{' ' * (width - cell_len(label))}  {one.index}" if one.name else ""
        console.print(line(f"  {number}  ", label, (index, "dim")))


def _label(found: Prediction | ClassArea | Detection) -> str:
    return visible(found.name) if found.name else str(found.index)
