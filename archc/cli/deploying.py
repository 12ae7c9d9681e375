"""The options that `export`, `quantize` and `bench` have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from archc.backends import targets
from archc.cli import arguments

ANY = "any"


class Size(click.ParamType[Any]):
    """`224`, `224x320` (height × width) or `any`; as (height, width), or `any`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        if value == ANY or isinstance(value, tuple):
            return value
        sides = str(value).lower().replace("×", "x").split("x")
        if len(sides) not in (1, 2) or not all(side.isdecimal() and int(side) for side in sides):
            self.fail(f"`{value}` is no size: write 224, 224x320 (height × width), or {ANY}", param, ctx)
        return int(sides[0]), int(sides[-1])


class Batch(click.ParamType[Any]):
    """A number of images from 1, or `dynamic`, which gives 0."""

    name = "batch"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        if value in ("dynamic", 0):
            return 0
        if not str(value).isdecimal() or not int(value):
            self.fail(f"`{value}` is no batch: write a number of images, or dynamic", param, ctx)
        return int(value)


weights = click.option(
    "--weights", type=click.Path(path_type=Path), help="The checkpoint: archc's own, or of a library that archc knows."
)
source = click.option("--source", default="auto", show_default=True, help="The library whose names the checkpoint has.")
size = click.option(
    "--size",
    type=Size(),
    metavar="N|HxW|any",
    help="The size of images, in place of the spec's; `any` for every size that the network can take.  "
    "[default: any where the target can, else the spec's]",
)
batch = click.option(
    "--batch", type=Batch(), default="dynamic", show_default=True, metavar="N|dynamic", help="Images at a time."
)
to = click.option("--to", type=click.Choice(targets()), help="The target.  [default: by the suffix of the file]")
preprocess = click.option(
    "--preprocess",
    is_flag=True,
    help="Take RGB pixels from 0 to 255 (uint8) and normalise them inside the network.",
)
classes = click.option(
    "--classes",
    metavar="FILE",
    help="Names of the classes to state in the file, one per line; `none` for none.  [default: as in `archc predict`]",
)


def found(images: Sequence[str]) -> list[Path]:
    """The images that options name: files, directories and globs; empty where there are none.

    Raises:
        PredictionError: an option stands for no image.
    """
    from archc.prediction.sources import find_images

    return find_images(images)


def form(size: Any, batch: int) -> dict[str, Any]:
    """`--size` and `--batch` as `archc.export` and `archc.quantize` take them."""
    return {
        "size": size if isinstance(size, tuple) else None,
        "any_size": True if size == ANY else None,
        "batch": batch or None,
    }


def target_of(output: Path, to: str | None) -> str:
    """The target of `--to`, or of the suffix of the file.

    Raises:
        UsageError: there is none, or its files have another suffix.
    """
    from archc.exporting.export import target_of as target

    try:
        return target(output, to)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None


def refuse_overwriting(written: Sequence[Path], specs: Sequence[str], weights: Path | None, *, existing: bool) -> None:
    """Refuse to overwrite what a command reads, and what exists unless that is allowed.

    Raises:
        UsageError: a file would be overwritten.
    """
    if not existing:
        arguments.refuse_existing(written)
    arguments.refuse_sources(written, [*map(Path, specs), *([] if weights is None else [weights])])
