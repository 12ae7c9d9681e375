"""Where drawn pictures go."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archc.cli.arguments import refuse_existing
from archc.files import write_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

_BEST: Mapping[str, Any] = {"quality": 95}
FORMATS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    ".bmp": ("BMP", {}),
    ".jpeg": ("JPEG", {**_BEST, "subsampling": 0}),
    ".jpg": ("JPEG", {**_BEST, "subsampling": 0}),  # red labels smear otherwise
    ".png": ("PNG", {}),
    ".ppm": ("PPM", {}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
    ".webp": ("WEBP", _BEST),
}
"""Suffixes that can be written, with Pillow's name and options for each."""


def places(output: Path, images: Sequence[Path], force: bool) -> dict[Path, Path]:
    """Where each picture is drawn to: `output` itself for one, a file of the same name inside it for several.

    A path that ends in a picture's suffix is a file, unless there is a directory of that name. Inside a directory, a
    suffix that cannot be written gets `.png` after it.

    Raises:
        UsageError: one file for several pictures, a suffix that cannot be written, two pictures of one name, a file
            that exists without `force`, or that is one of the pictures.
    """
    from archc.prediction.sources import SUFFIXES

    suffix = output.suffix.lower()
    if output.is_dir() or not suffix or (len(images) > 1 and suffix not in SUFFIXES):
        found = _inside(output, images)
    elif len(images) > 1:
        raise click.UsageError(
            f"`-o {output}` names one file, but there are {len(images):,} pictures: name a directory."
        )
    elif suffix not in FORMATS:
        raise click.UsageError(f"`-o {output}`: `{suffix}` cannot be written; {', '.join(FORMATS)} can.")
    else:
        found = {images[0]: output}
    sources = {image.resolve() for image in images}
    for place in found.values():
        if place.resolve() in sources:
            raise click.UsageError(f"`{place}` is one of the pictures; draw to another place. Nothing was written.")
    if not force:
        refuse_existing(found.values())
    return found


def _inside(directory: Path, images: Sequence[Path]) -> dict[Path, Path]:
    found: dict[Path, Path] = {}
    taken: dict[str, Path] = {}
    for image in images:
        name = image.name if image.suffix.lower() in FORMATS else f"{image.name}.png"
        other = taken.setdefault(name.casefold(), image)  # some file systems do not tell A from a
        if other != image:
            raise click.UsageError(f"`{other}` and `{image}` would both be drawn to `{directory / name}`.")
        found[image] = directory / name
    return found


def save(picture: Image, place: Path) -> None:
    """Write a picture in its suffix's format, beside its place first, and move it there once all of it is written.

    Raises:
        ClickException: the format has no room for a picture of this size, or the file cannot be written.
    """
    kind, options = FORMATS[place.suffix.lower()]
    encoded = io.BytesIO()
    try:
        picture.save(encoded, kind, **options)
    except (OSError, ValueError) as error:
        size = f"{picture.width}×{picture.height}"
        raise click.ClickException(f"{place}: {kind} cannot hold {size} pixels: {error}") from None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(place, encoded.getvalue())
    except OSError as error:
        raise click.ClickException(f"{place}: {error.strerror}") from None
