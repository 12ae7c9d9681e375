"""A bar that shows how far a long command is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

FEWEST = 10
"""With fewer steps than this a bar would only flicker."""


class Progress:
    """A bar on stderr, drawn only on a terminal; gone when the work is done."""

    def __init__(self, what: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # Not a console that takes FORCE_COLOR for a terminal: a bar in a log file is hundreds of lines.
        shown = total >= FEWEST and sys.stderr.isatty()
        self._bar = Bar(
            *columns,
            console=Console(file=sys.stderr),
            transient=True,
            disable=not shown,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task(what, total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._bar.stop()

    def advance(self) -> None:
        """One step is done."""
        self._bar.advance(self._task)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar away while something else is printed, be it to stdout or to stderr."""
        self._bar.stop()
        try:
            yield
        finally:
            sys.stdout.flush()
            self._bar.start()
