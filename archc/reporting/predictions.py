"""Predictions as text: a ranking per picture, or one line for each of many."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from archc.reporting.console import line
from archc.reporting.diagnostics import visible

if TYPE_CHECKING:
    from pathlib import Path

    from archc.tasks.classify import Classified, Prediction


def name_width(images: Iterable[Path]) -> int:
    """How wide the column of the pictures' names is."""
    return max((cell_len(visible(str(image))) for image in images), default=0)


def print_line(console: Console, classified: Classified, width: int) -> None:
    """The picture and its most probable class."""
    best = classified.predictions[0]
    name = visible(str(classified.image))
    padding = " " * (width - cell_len(name))
    console.print(line((name, "bold"), f"{padding}  {_probability(best)}  ", _label(best)))


def print_ranking(console: Console, classified: Classified) -> None:
    """The picture, and below it its most probable classes; the number of a class that has a name stands at the end."""
    console.print(Text(visible(str(classified.image)), style="bold"))
    width = max(cell_len(_label(prediction)) for prediction in classified.predictions)
    for prediction in classified.predictions:
        label = _label(prediction)
        number = f"{' ' * (width - cell_len(label))}  {prediction.index}" if prediction.name else ""
        console.print(line(f"  {_probability(prediction)}  ", label, (number, "dim")))


def _probability(prediction: Prediction) -> str:
    return f"{prediction.probability:.3f}"


def _label(prediction: Prediction) -> str:
    return visible(prediction.name) if prediction.name else str(prediction.index)
