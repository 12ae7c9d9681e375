"""Where spec files are found: the bundled ones, and those beside a file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from archc.document.diagnostics import did_you_mean, fail


@cache
def bundled_directory() -> Path:
    """The directory of the specs that come with archc: inside an installed package, or the repository's `specs/`."""
    package = Path(__file__).parents[1]
    installed = package / "specs"
    return installed if installed.is_dir() else package.parent / "specs"


def bundled() -> list[str]:
    """The names of the bundled specs."""
    return sorted(path.stem for path in bundled_directory().glob("*.yaml"))


def find(name: str) -> Path:
    """The file that a path or a bundled name means.

    Raises:
        SpecError: there is none.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or len(path.parts) != 1 or _exists(path):
        return path
    for candidate in (bundled_directory() / f"{name}.yaml", Path(f"{name}.yaml")):
        if _exists(candidate):
            return candidate
    hint = did_you_mean(name, bundled()) or f"the bundled specs are {', '.join(bundled())}"
    raise fail(
        "file-not-found", f"there is no spec `{name}`: no such file, and no bundled spec of that name", help=hint
    )


def find_parent(name: str, directory: Path) -> Path | None:
    """The file that a `defaults` entry means: beside the inheriting file first, then among the bundled specs."""
    for base in (directory, bundled_directory()):
        candidate = base / (name if name.endswith(".yaml") else f"{name}.yaml")
        if _exists(candidate):
            return candidate
    return None


def shown(path: Path, asked: str = "") -> str:
    """The name by which messages call a file: its path as it was asked for, or a bundled one's short path."""
    if Path(asked) == path:
        return asked
    return f"{path.parent.name}/{path.name}" if path.parent == bundled_directory() else str(path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that the file system cannot hold
        return False
