"""Writing files: a reader finds the old file or the whole new one, never a part of it.

A file is first written into a hidden staging directory beside its place and then moved there, so a failure leaves
everything as it was. This guards against programs that fail and disks that are full. It does not guard against power
loss: nothing is synced.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

STAGING = ".archc-"
"""The prefix of staging directories. Only a killed process leaves one behind, and it can be deleted."""

_NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What file systems without hard links answer."""


@contextmanager
def replacing(target: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Write one file: the body writes it to the path it is given, and it is then moved to `target`.

    The path has the target's name, and the file gets the permissions that the umask allows. A target that is a symbolic
    link is replaced itself; the file it points to stays.

    Raises:
        FileExistsError: something of that name exists and `overwrite` is false, no matter when it appeared. A symbolic
            link that points nowhere exists, too.
        OSError: the file cannot be written; `filename` is the target's.
    """
    with _staging(target.parent, target) as staging:
        _check(target, overwrite)
        yield staging / target.name
        _place(staging / target.name, target, overwrite)


def write_bytes(target: Path, content: bytes, *, overwrite: bool = True) -> None:
    """Write a file of bytes.

    Raises:
        OSError: as `replacing`.
    """
    with replacing(target, overwrite=overwrite) as staged:
        staged.write_bytes(content)


def write_text(target: Path, content: str, *, overwrite: bool = True) -> None:
    """Write a file of UTF-8 text.

    Raises:
        OSError: as `replacing`.
    """
    with replacing(target, overwrite=overwrite) as staged:
        staged.write_text(content, encoding="utf-8")


@contextmanager
def replacing_all(target: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Write a file or directory, and what belongs to it beside it: the body writes all of it at the path it is given.

    Everything is then moved to its place, the target last. A directory that is replaced is replaced as a whole.

    Raises:
        FileExistsError: something of such a name exists and `overwrite` is false. Nothing is changed.
        OSError: a file cannot be written; `filename` is its place.
    """
    with _staging(target.parent, target) as staging:
        yield staging / target.name
        written = sorted(staging.iterdir(), key=lambda path: path.name == target.name)
        with _locked(target.parent):
            for path in written:
                if not (path.is_dir() and overwrite):
                    _check(target.parent / path.name, overwrite)
            for path in written:
                place = target.parent / path.name
                if path.is_dir() and place.is_dir() and not place.is_symlink():
                    place.rename(staging / f"old-{path.name}")
                _place(path, place, overwrite) if path.is_file() else path.rename(place)


@contextmanager
def replacing_together(
    directory: Path, names: Sequence[str], obsolete: Sequence[str] = (), *, overwrite: bool = True
) -> Iterator[Path]:
    """Write files that belong together: the body writes all `names` into the directory it is given.

    They are then moved into `directory`, which is created where it is missing; its other files stay. The last of the
    names is removed first and put in place last, together with removing the `obsolete` files: a directory without it is
    incomplete. So an interrupted replacement can be told from a finished one, and never mixes old and new files. Of
    several writers that may not overwrite, one wins and the others fail; those that may overwrite take turns.

    Raises:
        FileExistsError: one of `names` or `obsolete` exists and `overwrite` is false. Nothing is changed.
        OSError: a file cannot be written; `filename` is its place.
    """
    created = _create(directory)
    try:
        with _staging(directory, directory) as staging:
            yield staging
            with _locked(directory):
                for name in (*names, *obsolete):
                    _check(directory / name, overwrite)
                if overwrite:
                    _replace_together(staging, directory, names, obsolete)
                else:
                    _add_together(staging, directory, names)
    except BaseException:
        for made in created:
            with suppress(OSError):
                made.rmdir()
        raise


def _create(directory: Path) -> list[Path]:
    """Create a directory and its parents; returns those that were missing, the innermost first."""
    missing: list[Path] = []
    path = directory
    while not path.exists() and path != path.parent:
        missing.append(path)
        path = path.parent
    directory.mkdir(parents=True, exist_ok=True)
    return missing


def _replace_together(staging: Path, directory: Path, names: Sequence[str], obsolete: Sequence[str]) -> None:
    for name in (names[-1], *obsolete):
        (directory / name).unlink(missing_ok=True)
    for name in names:
        os.replace(staging / name, directory / name)


def _add_together(staging: Path, directory: Path, names: Sequence[str]) -> None:
    added: list[Path] = []
    try:
        for name in names:
            _place(staging / name, directory / name, overwrite=False)
            added.append(directory / name)
    except BaseException:
        for path in added:
            path.unlink(missing_ok=True)
        raise


@contextmanager
def _staging(directory: Path, target: Path) -> Iterator[Path]:
    """A new directory inside `directory` that is deleted at the end; errors that name it name the target instead."""
    staging: Path | None = None
    try:
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=directory))
        yield staging
    except OSError as error:
        place = _place_of(error, staging, directory, target)
        if place is None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(place)) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _place_of(error: OSError, staging: Path | None, directory: Path, target: Path) -> Path | None:
    """The final place of the staged file that an error names; None if the error names another file."""
    if not isinstance(error.filename, str | os.PathLike):
        return target
    named = Path(error.filename)
    if staging is not None and named != staging and named.is_relative_to(staging):
        return directory / named.relative_to(staging)
    return target if named.name.startswith(STAGING) else None


def _check(target: Path, overwrite: bool) -> None:
    """Check that a file may be put here.

    Raises:
        OSError: there is one already that may not be overwritten, or something that is no file.
    """
    try:
        mode = os.lstat(target).st_mode
    except FileNotFoundError:
        return
    if not overwrite:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):  # replacing a device would be worse than not writing to it
        raise OSError(errno.EINVAL, "Not a regular file", str(target))


def _place(staged: Path, target: Path, overwrite: bool) -> None:
    """Move a staged file to its place."""
    if overwrite:
        os.replace(staged, target)
        return
    try:
        os.link(staged, target)  # unlike `os.rename`, it fails where the target exists
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            # Of its two file names, the error shows the first, which is the staged one.
            raise OSError(error.errno, error.strerror, str(target)) from None
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        os.replace(staged, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other writers out of a directory for a moment, where the system can lock one."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
