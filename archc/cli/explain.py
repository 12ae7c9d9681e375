"""`archc explain`."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from archc.document.rules import Rule

WIDTH = 88


@click.command(short_help="Explain a diagnostic by its id.")
@click.argument("id", required=False)
def explain(id: str | None) -> None:
    """Explain the diagnostic with the ID that messages show in brackets; without an ID, list all diagnostics."""
    from archc.cli.output import out
    from archc.document.diagnostics import did_you_mean
    from archc.document.rules import RULES
    from archc.reporting.tables import Column, Table, number

    console = out()
    if id is None:
        table = Table((Column("id", style="bold"), Column("severity"), number("exit code"), Column("meaning")))
        table.rows = [(rule.id, rule.severity, str(rule.exit_code), rule.summary) for rule in RULES.values()]
        table.print(console)
        return
    name = id.strip("[]")
    if name not in RULES:
        hint = did_you_mean(name, RULES) or "`archc explain` lists them all"
        raise click.BadParameter(f"there is no diagnostic `{name}`; {hint}", param_hint="'ID'")
    for text, style in _lines(RULES[name]):
        console.print(text, style=style)


def _lines(rule: Rule) -> list[tuple[str, str]]:
    meaning = "a warning: the exit code stays 0" if rule.severity == "warning" else f"exit code {rule.exit_code}"
    return [
        (f"{rule.severity}[{rule.id}]: {rule.summary}", "bold"),
        ("", ""),
        *((line, "") for line in textwrap.wrap(rule.explanation, WIDTH)),
        ("", ""),
        ("For example:", "dim"),
        ("", ""),
        (textwrap.indent(rule.example, "    "), "cyan"),
        ("", ""),
        (f"({meaning})", "dim"),
    ]
