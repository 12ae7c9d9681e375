"""Finds files: those that come with archc, and those beside a file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from archc.document.diagnostics import did_you_mean, fail


@cache
def bundled_directory() -> Path:
    """The directory of the files that come with archc: in an installed package, or the repository's `specs/`."""
    package = Path(__file__).parents[1]
    installed = package / "specs"
    return installed if installed.is_dir() else package.parent / "specs"


@dataclass(frozen=True, slots=True)
class Library:
    """The bundled documents of one kind, in a directory of their own. `noun` is what messages call one of them."""

    noun: str
    directory: Path

    def names(self) -> list[str]:
        """The names of the bundled documents."""
        return sorted(path.stem for path in self.directory.glob("*.yaml"))

    def find(self, name: str) -> Path:
        """The file that a path or a bundled name means.

        Raises:
            SpecError: there is none.
        """
        path = Path(name)
        if path.suffix in (".yaml", ".yml") or len(path.parts) != 1 or _exists(path):
            return path
        for candidate in (self.directory / f"{name}.yaml", Path(f"{name}.yaml")):
            if _exists(candidate):
                return candidate
        names = self.names()
        message = f"there is no {self.noun} `{name}`: no such file, and no bundled {self.noun} of that name"
        hint = did_you_mean(name, names) or (f"the bundled {self.noun}s are {', '.join(names)}" if names else "")
        raise fail("file-not-found", message, help=hint)

    def find_parent(self, name: str, directory: Path) -> Path | None:
        """The file that a `defaults` entry means: beside the inheriting file first, then among the bundled ones."""
        for base in (directory, self.directory):
            candidate = base / (name if name.endswith(".yaml") else f"{name}.yaml")
            if _exists(candidate):
                return candidate
        return None

    def shown(self, path: Path, asked: str = "") -> str:
        """What messages call a file: its path as the user gave it, or a bundled file's short path."""
        if Path(asked) == path:
            return asked
        return f"{path.parent.name}/{path.name}" if path.parent == self.directory else str(path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that the file system cannot hold
        return False
