"""A progress bar for long commands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

FEWEST = 10
"""Steps below which there is no bar; it would only flicker."""


class Progress:
    """A bar on stderr, drawn only on a terminal, and removed when the work is done."""

    def __init__(self, what: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # Rich takes FORCE_COLOR for a terminal, but a bar in a log file is hundreds of lines.
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
        """Take the bar away while something else is printed to stdout or stderr."""
        self._bar.stop()
        try:
            yield
        finally:
            sys.stdout.flush()
            self._bar.start()
