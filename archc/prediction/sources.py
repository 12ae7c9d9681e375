"""Which pictures are meant: files, directories, globs."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from archc.document.diagnostics import Diagnostic
from archc.prediction.errors import TaskError

_EVERYDAY = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_RARE = (".dib", ".j2k", ".jfif", ".jp2", ".jpe", ".mpo", ".pbm", ".pgm", ".pnm", ".ppm")
SUFFIXES = frozenset(_EVERYDAY + _RARE)
"""What the names of pictures end in, lower case: a directory is searched by them, a file that is named is opened
anyway."""


def pictures(sources: Iterable[str]) -> list[Path]:
    """The pictures that files, directories and globs stand for, each once, in the order of the sources.

    A directory stands for the pictures directly inside it, sorted, hidden files left out; a glob (`photos/*.jpg`,
    `photos/**/*.png`) for the files that match, sorted. A path that exists is never read as a glob.

    Raises:
        TaskError: a source stands for nothing.
    """
    found: dict[Path, None] = {}
    for source in sources:
        found.update(dict.fromkeys(_pictures(source)))
    return list(found)


def looks_like_picture(source: str) -> bool:
    """Whether a word of the command line is a picture rather than something else: it exists, or is called like one."""
    path = Path(source)
    return path.suffix.lower() in SUFFIXES or _exists(path)


def _pictures(source: str) -> list[Path]:
    path = Path(source).expanduser() if source.startswith("~/") else Path(source)
    if not _exists(path):
        matches = (
            sorted(Path(match) for match in glob.glob(str(path), recursive=True)) if glob.has_magic(source) else []
        )
        return [match for match in matches if match.is_file()] or _nothing(source)
    if not path.is_dir():
        return [path]
    inside = sorted(entry for entry in path.iterdir() if _is_picture(entry))
    return inside or _no_picture_in(source, path)


def _is_picture(entry: Path) -> bool:
    return entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and entry.is_file()


def _nothing(source: str) -> list[Path]:
    is_glob = glob.has_magic(source)
    message = f"no file matches `{source}`" if is_glob else f"there is no file `{source}`"
    help = "an override is written KEY=VALUE" if not is_glob and "." not in source and "/" not in source else ""
    raise TaskError(Diagnostic("no-images", message, help=help))


def _no_picture_in(source: str, directory: Path) -> list[Path]:
    deeper = any(entry.is_dir() and not entry.name.startswith(".") for entry in directory.iterdir())
    help = f"for what lies deeper: '{source.rstrip('/')}/**/*.jpg', in quotes" if deeper else ""
    known = f"no file inside it ends in one of {' '.join(sorted(SUFFIXES))}"
    raise TaskError(Diagnostic("no-images", f"the directory `{source}` holds no pictures", notes=(known,), help=help))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that the file system cannot hold, or a directory that may not be entered
        return False
