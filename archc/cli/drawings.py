"""Files for drawn images."""

from __future__ import annotations

import io
import os
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
"""Suffixes that can be written, with Pillow's name of the format and its options."""


LONGEST_NAME = 255
"""Bytes of a file's name that common file systems take."""


def places(output: Path, images: Sequence[Path], force: bool) -> dict[Path, Path]:
    """The file for each image's drawing: `output` itself for one image, a file of the same name inside it for several.

    A path that ends in an image's suffix is a file, unless there is a directory of that name. Inside a directory, a
    suffix that cannot be written gets `.png` after it.

    Raises:
        UsageError: one file for several images, a suffix that cannot be written, a name that is too long, two images
            of one name, a file that exists without `force`, or one that is itself among the images.
    """
    from archc.prediction.sources import SUFFIXES

    suffix = output.suffix.lower()
    if output.is_dir() or not suffix or (len(images) > 1 and suffix not in SUFFIXES):
        found = _inside(output, images)
    elif len(images) > 1:
        raise _refused(f"`-o {output}` names one file, but there are {len(images):,} images: name a directory.")
    elif suffix not in FORMATS:
        raise _refused(f"`-o {output}`: `{suffix}` cannot be written; {', '.join(FORMATS)} can.")
    else:
        found = {images[0]: output}
    sources = {image.resolve() for image in images}
    for place in found.values():
        if place.resolve() in sources:
            raise _refused(f"`{place}` is one of the images; draw to another place. Nothing was written.")
    if not force:
        refuse_existing(found.values())
    return found


def _inside(directory: Path, images: Sequence[Path]) -> dict[Path, Path]:
    found: dict[Path, Path] = {}
    taken: dict[str, Path] = {}
    for image in images:
        name = image.name if image.suffix.lower() in FORMATS else f"{image.name}.png"
        if len(os.fsencode(name)) > LONGEST_NAME:
            raise _refused(
                f"`{name}`, the file for the drawing of `{image}`, has a name of more than {LONGEST_NAME} bytes; "
                "rename the image. Nothing was written."
            )
        other = taken.setdefault(name.casefold(), image)  # some file systems do not tell A from a
        if other != image:
            raise _refused(f"`{other}` and `{image}` would both be drawn to `{directory / name}`.")
        found[image] = directory / name
    return found


def _refused(message: str) -> click.UsageError:
    from archc.document.diagnostics import visible

    return click.UsageError(visible(message))


def save(image: Image, place: Path, *, overwrite: bool = True) -> None:
    """Write an image in the format of its suffix: to a temporary file beside its place, which is then renamed.

    Raises:
        ClickException: the format cannot hold an image of this size, or the file cannot be written or must not be
            replaced.
    """
    kind, options = FORMATS[place.suffix.lower()]
    encoded = io.BytesIO()
    try:
        image.save(encoded, kind, **options)
    except (OSError, ValueError) as error:
        size = f"{image.width}×{image.height}"
        raise click.ClickException(f"{place}: {kind} cannot hold {size} pixels: {error}") from None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(place, encoded.getvalue(), overwrite=overwrite)
    except OSError as error:
        raise click.ClickException(f"{place}: {error.strerror}") from None
