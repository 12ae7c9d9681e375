"""What commands write: text for people and JSON for machines to stdout, diagnostics to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from archc.document.diagnostics import Diagnostic


def out() -> Console:
    """The console for what was asked for."""
    from archc.reporting.console import console

    return console(sys.stdout)


def err() -> Console:
    """The console for what went wrong."""
    from archc.reporting.console import console

    return console(sys.stderr)


def print_json(value: object) -> None:
    """Print a value as JSON, and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def show_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Print diagnostics in full to stderr, each once, a blank line after each."""
    unique = dict.fromkeys(diagnostics)
    if not unique:
        return  # rich need not be imported to print nothing
    from archc.reporting.diagnostics import full

    console = err()
    for diagnostic in unique:
        console.print(full(diagnostic))
        console.print()


def exit_code(diagnostics: Iterable[Diagnostic]) -> int:
    """0 fine, 1 the spec is wrong, 2 the command line is wrong: the gravest of the rules' own."""
    from archc.document.rules import RULES

    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]
    return max((RULES[error.id].exit_code if error.id in RULES else 1 for error in errors), default=0)
