"""The options that `export`, `quantize` and `bench` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from archc.backends import targets

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
