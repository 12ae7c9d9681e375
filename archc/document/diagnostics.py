"""What is wrong with a document, where, and what to do about it.

Inner code raises short facts; this module gives them their shape. One `Diagnostic` type serves every problem,
`archc.reporting.diagnostics` renders it, and `SpecError` carries a list of them to Python users.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

Severity = Literal["error", "warning"]

MAX_CANDIDATES = 1_000
"""At most so many words are compared with a misspelt one. Comparing more would take longer than reading the file."""

LINE_BREAK = "\r\n|[\n\r\x85\u2028\u2029]"
"""YAML's line breaks. `str.splitlines` knows more."""


@dataclass(frozen=True, slots=True)
class Source:
    """A text that values come from: a YAML file, or one override on the command line."""

    name: str
    text: str = field(repr=False)
    kind: Literal["file", "override", "python"] = "file"
    _lines: list[str] = field(default_factory=list, init=False, compare=False, repr=False)

    def line(self, number: int) -> str:
        """The line with this 1-based number, without its line break; empty past the end."""
        if not self._lines:  # split once: thousands of problems may point into one text
            self._lines.extend(re.split(LINE_BREAK, self.text))
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of one line of a source; `line` and `column` count from 1."""

    source: Source
    line: int
    column: int
    length: int = 1

    def __str__(self) -> str:
        if self.source.kind == "file":
            return f"{self.source.name}:{self.line}:{self.column}"
        return self.source.name


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem. `label` is short and stands under the caret; `help` says what to do."""

    id: str
    message: str
    span: Span | None = None
    label: str = ""
    notes: tuple[str, ...] = ()
    help: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        where = f"{self.span}: " if self.span else ""
        hint = "; ".join(part for part in (self.label, self.help) if part)
        return visible(f"{where}{self.severity}[{self.id}]: {self.message}{f' ({hint})' if hint else ''}")

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready mapping, with the location flattened to `source`, `line` and `column`."""
        location: dict[str, object] = {"source": None, "line": None, "column": None, "length": None}
        if self.span:
            location = {
                "source": self.span.source.name,
                "line": self.span.line,
                "column": self.span.column,
                "length": self.span.length,
            }
        return {
            "id": self.id,
            "severity": self.severity,
            "message": self.message,
            **location,
            "label": self.label,
            "notes": list(self.notes),
            "help": self.help,
        }


def visible(text: str, *, tab: str | None = None, line_breaks: bool = False) -> str:
    r"""A text without the characters that would move a terminal's cursor or colour what follows.

    Control characters become their pictures (`␊`), and what else cannot be seen becomes an escape (`\u200b`).

    Args:
        text: what a user wrote.
        tab: what stands for a tab; default: its picture.
        line_breaks: keep `\n`.
    """
    if text.isprintable():
        return text

    def shown(character: str) -> str:
        if character.isprintable() or (line_breaks and character == "\n"):
            return character
        if character == "\t" and tab is not None:
            return tab
        return chr(0x2400 + ord(character)) if character < " " else ascii(character)[1:-1]

    return "".join(map(shown, text))


class SpecError(ValueError):
    """A spec, or another document, with mistakes; `.diagnostics` lists every problem found."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__("\n".join(str(d) for d in self.diagnostics))

    def __reduce__(self) -> tuple[type[SpecError], tuple[tuple[Diagnostic, ...]]]:
        return type(self), (self.diagnostics,)


class SpecWarning(UserWarning):
    """A document that is valid, but probably not what its author meant."""


@contextmanager
def no_python_warnings() -> Iterator[None]:
    """Issue no `SpecWarning` inside: for code that passes the diagnostics on in another way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        yield


def fail(
    id: str,
    message: str,
    span: Span | None = None,
    *,
    label: str = "",
    help: str = "",
    notes: Sequence[str] = (),
) -> SpecError:
    """A `SpecError` of one diagnostic, to be raised by the caller."""
    return SpecError([Diagnostic(id, message, span, label, tuple(notes), help)])


def did_you_mean(word: object, candidates: Iterable[str]) -> str:
    """`did you mean …?` for the nearest candidate, or an empty string when none is near."""
    known = tuple(candidates)
    return _did_you_mean(str(word), known) if len(known) <= MAX_CANDIDATES else ""


@lru_cache(maxsize=1024)  # a typo is often made in every row of a table
def _did_you_mean(word: str, candidates: tuple[str, ...]) -> str:
    # Only words of about the same length can be near. Comparing lengths is cheap, comparing words is not.
    likely = [other for other in candidates if 0.4 * len(word) <= len(other) <= 2.5 * len(word)]
    close = difflib.get_close_matches(word, likely, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else ""


def one_of(candidates: Iterable[str], limit: int = 24) -> str:
    """`one of: a, b, c`, cut where the list is long."""
    names = [f"`{name}`" for name in candidates]
    shown = ", ".join(names[:limit])
    return f"one of: {shown}{', …' if len(names) > limit else ''}" if names else ""
