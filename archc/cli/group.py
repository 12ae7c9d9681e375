"""The root of all commands, and the one place where a failure becomes a message and an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, NoReturn

import click

from archc.cli.output import exit_code, show_diagnostics
from archc.extras import missing

WRONG_COMMAND_LINE = 2
INTERRUPTED = 128 + signal.SIGINT
CLOSED_PIPE = 141
"""The shell's exit code for a process that SIGPIPE ended."""

STREAMS = ("standard output", "standard error")
"""How errors name the streams."""

_TERMINATION = ("SIGTERM", "SIGHUP")
"""Signals that end a command after it has cleaned up. Windows lacks the second."""


class Commands(click.Group):
    """Commands in the order in which they were added, whose failures end in a message instead of a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The order of the source: the most used commands come first."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn a user's mistakes into diagnostics and an exit code."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except ValueError as error:
            diagnostics = getattr(error, "diagnostics", None)
            if diagnostics is None:  # only a SpecError has them; importing it here would import pydantic's half
                raise
            show_diagnostics(diagnostics)
            ctx.exit(exit_code(diagnostics))
        except ImportError as error:
            message = missing(error)
            if not message:
                raise
            raise click.UsageError(message) from None
        except BrokenPipeError:  # before click sees it, which exits with 1
            _discard(sys.stdout)
            ctx.exit(CLOSED_PIPE)
        except OSError as error:
            if error.filename is None or error.filename in STREAMS:
                raise
            raise _unusable(error) from None

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run as a program; an interrupt, a termination signal and a closed pipe end quietly."""
        _prepare_streams()
        with _cleaning_up():
            try:
                code = self._run(args, *rest, **options)
                sys.stdout.flush()
            except BrokenPipeError:
                _discard(sys.stdout)
                code = CLOSED_PIPE
            except OSError as error:
                if error.filename not in STREAMS:
                    raise
                _discard(sys.stderr if error.filename == STREAMS[1] else sys.stdout)
                _show(_unusable(error))
                code = WRONG_COMMAND_LINE
        sys.exit(code)

    def _run(self, *arguments: Any, **options: Any) -> int:
        try:
            result = super().main(*arguments, **{**options, "standalone_mode": False})
        except click.ClickException as error:
            _show(error)
            return error.exit_code
        except (click.Abort, KeyboardInterrupt):
            return INTERRUPTED
        return result if isinstance(result, int) else 0


def _unusable(error: OSError) -> click.UsageError:
    """What to say about a file or a standard stream that cannot be read or written."""
    return click.UsageError(f"{error.filename}: {error.strerror}")


def _show(error: click.ClickException) -> None:
    """Print an error as click does, but with the control characters of users' own words made visible."""
    from archc.document.diagnostics import visible

    text = io.StringIO()
    error.show(text)
    try:
        click.echo(visible(text.getvalue(), line_breaks=True), err=True, nl=False)
    except OSError:  # the exit code still says that something failed
        _discard(sys.stderr)


@contextmanager
def _cleaning_up() -> Iterator[None]:
    """Let termination signals end the program by an exception, so that `finally` clauses delete staged files."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
        return
    known = [getattr(signal, name) for name in _TERMINATION if hasattr(signal, name)]
    changed = [number for number in known if signal.getsignal(number) is signal.SIG_DFL]  # not what nohup ignores
    for number in changed:
        signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _terminate(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def _discard(stream: IO[str]) -> None:
    # Python flushes both streams once more when it ends: what is left has to go somewhere.
    with suppress(OSError):  # a stream that is no file has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Standard(io.FileIO):
    """A standard stream whose errors say which one it is."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__(number, "wb", closefd=False)
        self._title = name

    def write(self, data: Any, /) -> int:
        """As every file's."""
        try:
            return super().write(data)
        except OSError as error:
            error.filename = self._title
            raise


def _prepare_streams() -> None:
    """Let errors name the standard streams, and let unencodable characters be replaced."""
    if sys.stdout is None or sys.stderr is None:  # closed from the start (`>&-`)
        # The next file to be opened would get the number of a standard stream. Writing to these fails, as it should.
        while os.open(os.devnull, os.O_RDONLY) < 2:
            pass
    sys.stdout = _prepared(sys.stdout, 1, STREAMS[0])
    sys.stderr = _prepared(sys.stderr, 2, STREAMS[1])


def _prepared(stream: Any, number: int, name: str) -> Any:
    settings: dict[str, Any] = {"encoding": "utf-8", "line_buffering": number == 2}
    if stream is not None:
        try:
            number = stream.fileno()
        except (OSError, AttributeError):  # not a file, as in a test or a notebook
            return stream
        stream.flush()
        settings = {name: getattr(stream, name) for name in ("encoding", "line_buffering", "write_through")}
    # `×` in a Latin-1 or ASCII pipe is not worth a traceback.
    return io.TextIOWrapper(io.BufferedWriter(_Standard(number, name)), errors="replace", **settings)
