"""The root of all commands, and the one place where a failure becomes a message and an exit code."""

from __future__ import annotations

import errno
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
            return super().invoke(ctx)
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
        except OSError as error:
            if error.filename is None:  # a stream, which `main` deals with
                raise
            raise click.UsageError(f"{error.filename}: {error.strerror}") from None

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run as a program; an interrupt, a termination signal and a closed pipe end quietly."""
        _replace_closed_streams()
        for stream in (sys.stdout, sys.stderr):
            _replace_unencodable(stream)
        with _cleaning_up():
            try:
                code = self._run(args, *rest, **options)
                sys.stdout.flush()
            except BrokenPipeError:
                _discard_output()
                code = CLOSED_PIPE
            except OSError as error:
                if not _output_fails():
                    raise
                _discard_output()
                _show(click.UsageError(f"standard output: {error.strerror}"))
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


def _show(error: click.ClickException) -> None:
    """Print an error as click does, but with the control characters of users' own words made visible."""
    from archc.reporting.diagnostics import visible

    text = io.StringIO()
    error.show(text)
    with suppress(OSError):  # where standard error cannot be written, the exit code still says that something failed
        click.echo(visible(text.getvalue(), line_breaks=True), err=True, nl=False)


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


def _output_fails() -> bool:
    """Whether standard output cannot be written; what could not be written is still in its buffer."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _discard_output() -> None:
    # Python flushes stdout once more when it ends: give it somewhere to go.
    with suppress(OSError):  # a stream that is no file has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Closed(io.StringIO):
    """Stands in for a standard output that was closed from the start: writing to it is an error, later rather than now."""

    def flush(self) -> None:
        if self.tell():
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _replace_closed_streams() -> None:
    """Replace the streams that are closed from the start (`>&-`), for which Python has None."""
    if sys.stdout is None or sys.stderr is None:
        # Otherwise the next file to be opened would get a standard stream's number, and what a C library prints.
        while os.open(os.devnull, os.O_RDWR) <= 2:
            pass
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = io.StringIO()


def _replace_unencodable(stream: IO[str]) -> None:
    # `×` in a Latin-1 or ASCII pipe is not worth a traceback.
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
