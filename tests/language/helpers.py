"""What the tests of the spec language share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import archc
from archc.document.diagnostics import Diagnostic, Span
from archc.document.library import bundled_directory
from archc.language.load import LIBRARY

HANG_S = 60
"""What would hang without a guard takes hours or all memory; this only tells it from a slow machine."""

BUNDLED = LIBRARY.names()
SMALL = (bundled_directory() / "mnv3_small.yaml").read_text(encoding="utf-8")


def problems(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> list[Diagnostic]:
    """What loading and lowering complain about; at least one thing."""
    with pytest.raises(archc.SpecError) as caught:
        archc.lower(archc.load(source, overrides))
    assert caught.value.diagnostics
    return list(caught.value.diagnostics)


def only(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Diagnostic:
    """The one thing that loading and lowering complain about."""
    (problem,) = problems(source, overrides)
    return problem


def pointed(span: Span | None) -> str:
    """The characters that a diagnostic's caret stands under."""
    assert span is not None
    line = span.source.line(span.line)
    return line[span.column - 1 : span.column - 1 + span.length]


def row(text: str, top: str = "") -> str:
    """A spec of one stage `c1` with one row."""
    return f"{top}\nstages:\n  c1:\n    - {text}\n"


class Folder:
    """A directory of spec files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str) -> Path:
        """Write a file and return its path."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
        return path
