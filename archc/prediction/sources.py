"""Which images are meant: files, directories, globs, and images in memory."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archc.document.diagnostics import Diagnostic
from archc.prediction.errors import PredictionError

if TYPE_CHECKING:
    pass

_COMMON = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_RARE = (".dib", ".j2k", ".jfif", ".jp2", ".jpe", ".mpo", ".pbm", ".pgm", ".pnm", ".ppm")
SUFFIXES = frozenset(_COMMON + _RARE)
"""Suffixes of image files, in lower case. They select files inside a directory; a file that is named itself is opened
whatever its suffix."""

_EXPECTED = "pass a path, a PIL image, or a `uint8` array of height × width × 3 (RGB) or height × width (grey)"


@dataclass(frozen=True, eq=False)
class InMemory:
    """An image that was passed in memory: a PIL image or a NumPy array. Messages call it by its `label`."""

    label: str
    image: Any

    def __str__(self) -> str:
        return self.label


ImageSource = Path | InMemory
"""One image: its file, or the image itself."""

Images = str | PathLike[str] | Any
"""What `archc.predict` accepts as images: a path, a directory, a glob, a PIL image, an array, or several of these."""


def path_of(source: ImageSource) -> Path | None:
    """The file of an image; None for one in memory."""
    return source if isinstance(source, Path) else None


def find_images(sources: Iterable[str]) -> list[Path]:
    """The images that files, directories and globs stand for, each once, in the order of the sources.

    A directory stands for the images directly inside it, sorted, without hidden files. A glob (`photos/*.jpg`,
    `photos/**/*.png`) stands for the files that match, sorted. A path that exists is never read as a glob.

    Raises:
        PredictionError: a source stands for nothing.
    """
    return list(dict.fromkeys(path for source in sources for path in _expanded(source)))


def collect(images: Images) -> list[ImageSource]:
    """The images that Python code passed, in order; paths are read as by `find_images`, but repeated ones are kept.

    Raises:
        PredictionError: a path stands for nothing, or something is no image.
    """
    if isinstance(images, str | PathLike) or _is_pil(images) or _is_array(images):
        return _collected("image", images)
    if not isinstance(images, Iterable) or isinstance(images, bytes) or hasattr(images, "dtype"):
        raise _not_an_image("`images`", images)
    return [source for number, one in enumerate(images) for source in _collected(f"images[{number}]", one)]


def _collected(label: str, given: object) -> list[ImageSource]:
    if isinstance(given, str | PathLike):
        path = os.fspath(given)
        if isinstance(path, str):
            return list(_expanded(path))
    elif _is_pil(given) or (_is_array(given) and _has_pixels(given)):
        return [InMemory(label, given)]
    raise _not_an_image(f"`{label}`", given)


def _is_pil(given: object) -> bool:
    # Nobody can pass an image of a library that was never imported, so nothing is imported to find out.
    pillow: Any = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(given, pillow.Image)


def _is_array(given: object) -> bool:
    numpy: Any = sys.modules.get("numpy")
    return numpy is not None and isinstance(given, numpy.ndarray)


def _has_pixels(array: Any) -> bool:
    colours = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    return bool(colours and array.dtype.name == "uint8" and array.size > 0)


def _not_an_image(label: str, given: Any) -> PredictionError:
    kind = f"a `{type(given).__name__}`"
    if _is_array(given):
        kind = f"an array of `{given.dtype}`, {'×'.join(map(str, given.shape)) or 'a single number'}"
    message = f"{label} is {kind}, which is not one image"
    return PredictionError(Diagnostic("unsupported-image", message, help=_EXPECTED))


def looks_like_image(word: str) -> bool:
    """Whether a word on the command line is an image rather than an override: it exists, or has an image's suffix."""
    path = Path(word)
    return path.suffix.lower() in SUFFIXES or _exists(path)


def _expanded(source: str) -> list[Path]:
    path = Path(source).expanduser() if source.startswith("~/") else Path(source)
    if not _exists(path):
        matches = (
            sorted(Path(match) for match in glob.glob(str(path), recursive=True)) if glob.has_magic(source) else []
        )
        return [match for match in matches if match.is_file()] or _nothing(source)
    if not path.is_dir():
        return [path]
    inside = sorted(entry for entry in path.iterdir() if _is_image(entry))
    return inside or _no_image_in(source, path)


def _is_image(entry: Path) -> bool:
    return entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and entry.is_file()


def _nothing(source: str) -> list[Path]:
    is_glob = glob.has_magic(source)
    message = f"no file matches `{source}`" if is_glob else f"there is no file `{source}`"
    help = "an override is written KEY=VALUE" if not is_glob and "." not in source and "/" not in source else ""
    raise PredictionError(Diagnostic("no-images", message, help=help))


def _no_image_in(source: str, directory: Path) -> list[Path]:
    deeper = any(entry.is_dir() and not entry.name.startswith(".") for entry in directory.iterdir())
    help = f"for the directories inside it: '{source.rstrip('/')}/**/*.jpg', in quotes" if deeper else ""
    known = f"no file inside it ends in one of {' '.join(sorted(SUFFIXES))}"
    message = f"the directory `{source}` holds no images"
    raise PredictionError(Diagnostic("no-images", message, notes=(known,), help=help))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that the file system cannot hold, or a directory that may not be entered
        return False
