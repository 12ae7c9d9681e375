"""The root of all commands, and the one place where what goes wrong becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import IO, Any, NoReturn

import click

from archc.cli.output import exit_code, show_diagnostics

INTERRUPTED = 130
CLOSED_PIPE = 141
"""What a shell reports for a process that SIGINT or SIGPIPE ended."""


class Commands(click.Group):
    """Commands in the order in which they were added, whose errors end calmly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The order of the source: what is used most comes first."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what a user got wrong becomes diagnostics and an exit code."""
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
        except BrokenPipeError:
            _end_quietly()
        except OSError as error:
            if error.filename is None:
                raise
            raise click.UsageError(f"{error.filename}: {error.strerror}") from None

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run as a program; an interrupt and a closed pipe end quietly."""
        for stream in (sys.stdout, sys.stderr):
            _replace_unencodable(stream)
        try:
            result = super().main(args, *rest, **{**options, "standalone_mode": False})
            sys.stdout.flush()
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            _end_quietly()
        sys.exit(result if isinstance(result, int) else 0)


def _end_quietly() -> NoReturn:
    # Python flushes stdout once more when it ends: give it somewhere to go.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(CLOSED_PIPE)


def _replace_unencodable(stream: IO[str]) -> None:
    # `×` in a Latin-1 or ASCII pipe is not worth a traceback.
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
