"""Where text goes: colours on a terminal, plain text everywhere else, and never a line broken or cut."""

from __future__ import annotations

from typing import IO

from rich.console import Console
from rich.text import Text

_ENDLESS = 100_000
"""Columns of a console that never wraps: a pipe has no width, and a terminal wraps by itself."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704  (called while the error is handled; the command line ends quietly by itself)


def console(file: IO[str]) -> Console:
    """A console on a stream. Colours follow the stream, `NO_COLOR` and `FORCE_COLOR`."""
    return _Console(file=file, width=_ENDLESS, markup=False, emoji=False, highlight=False, legacy_windows=False)


def line(*parts: str | tuple[str, str]) -> Text:
    """One line from pieces of text, each plain or with its style."""
    return Text.assemble(*parts)
