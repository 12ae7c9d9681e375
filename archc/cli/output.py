"""The output of commands: text for people and JSON for machines to stdout, diagnostics to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from archc.document.diagnostics import Diagnostic


def out() -> Console:
    """The console for results: standard output."""
    from archc.reporting.console import console

    return console(sys.stdout)


def err() -> Console:
    """The console for problems: standard error."""
    from archc.reporting.console import console

    return console(sys.stderr)


def print_json(value: object) -> None:
    """Print a value as JSON."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def show_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Print diagnostics in full to stderr, each once and followed by a blank line."""
    unique = dict.fromkeys(diagnostics)
    if not unique:
        return  # to print nothing, rich need not be imported
    from archc.reporting.diagnostics import full

    console = err()
    for diagnostic in unique:
        console.print(full(diagnostic))
        console.print()


def exit_code(diagnostics: Iterable[Diagnostic]) -> int:
    """The highest exit code of the diagnostics' rules: 0 fine, 1 the spec is wrong, 2 the command line is wrong."""
    from archc.document.rules import RULES

    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]
    return max((RULES[error.id].exit_code if error.id in RULES else 1 for error in errors), default=0)
