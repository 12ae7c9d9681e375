"""`archc check`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from archc.cli import arguments
from archc.cli.arguments import Request

if TYPE_CHECKING:
    from archc.document.diagnostics import Diagnostic


@click.command(short_help="Show every problem of every spec.")
@arguments.request(most=None)
@click.option(
    "--format",
    "style",
    type=click.Choice(["full", "concise", "json", "github"]),
    default="full",
    show_default=True,
    help="`full` is for people and goes to stderr; the others are for tools and go to stdout.",
)
def check(request: Request, style: str) -> int:
    """Load and lower each spec, and show every problem of every spec.

    With swept overrides, every combination is checked.
    """
    import archc
    from archc.cli.arguments import allowed
    from archc.cli.output import err, exit_code, out, show_diagnostics
    from archc.reporting.diagnostics import LINES, as_json

    checked = (archc.check(source, request.overrides, allow=allowed()) for source in request.specs)
    found = list(dict.fromkeys(diagnostic for diagnostics in checked for diagnostic in diagnostics))
    if style == "full":
        show_diagnostics(found)
    elif style == "json":
        sys.stdout.write(as_json(found) + "\n")
    else:
        console = out()
        for diagnostic in found:
            console.print(LINES[style](diagnostic))
    (out() if style == "full" else err()).print(_summary(len(request.specs), found))
    return exit_code(found)


def _summary(checked: int, found: list[Diagnostic]) -> str:
    counts = {severity: sum(d.severity == severity for d in found) for severity in ("error", "warning")}
    parts = [_many(count, severity) for severity, count in counts.items() if count] or ["no problems"]
    return f"checked {_many(checked, 'spec')}: {', '.join(parts)}"


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
