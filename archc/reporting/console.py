"""Where text goes: colours on a terminal, plain text everywhere else, and no line is ever broken or cut.

Names of networks, files and overrides are users' own words. Whatever is printed here is made visible first, so none of
them can move a terminal's cursor, change its colours or break a line.
"""

from __future__ import annotations

from typing import IO, Any

from rich.console import Console
from rich.text import Text

from archc.document.diagnostics import visible

_ENDLESS = 100_000
"""Columns of a console that never wraps: a pipe has no width, and a terminal wraps by itself."""


class _Console(Console):
    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's, but control characters in strings become visible; a `Text` is printed as it is."""
        shown = [visible(value, line_breaks=True) if isinstance(value, str) else value for value in objects]
        super().print(*shown, **options)

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704  (called while the error is handled; the command line ends quietly by itself)


def console(file: IO[str]) -> Console:
    """A console on a stream. Colours follow the stream, `NO_COLOR` and `FORCE_COLOR`."""
    return _Console(file=file, width=_ENDLESS, markup=False, emoji=False, highlight=False, legacy_windows=False)


def line(*parts: str | tuple[str, str]) -> Text:
    """One line from pieces of text, each plain or with its style; control characters in them become visible."""
    pieces = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((visible(text), style) for text, style in pieces))
