"""`archc list`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from archc.cli import arguments

if TYPE_CHECKING:
    from archc.document.diagnostics import Diagnostic


_FIRST_CLAUSE = re.compile(r"\.$|\.\s(?=[A-Z`])|[;:]\s")
"""The end of a text's first clause. The period of `et al. 2018` is none."""


@click.command("list", short_help="Bundled specs with their costs, registered blocks.")
@arguments.as_json
def list_(as_json: bool) -> int:
    """List the bundled specs with their costs, and the registered blocks."""
    from archc.cli.output import exit_code, out, print_json, show_diagnostics

    specs, problems = _specs()
    blocks = _blocks()
    if as_json:
        print_json({"specs": specs, "blocks": [{"name": name, "doc": doc} for name, doc in blocks.items()]})
    else:
        from archc.ir.ops import show
        from archc.reporting.numbers import count
        from archc.reporting.tables import Column, Table, facts, number

        console = out()
        columns = (Column("spec", style="bold"), Column("network"), Column("input"), number("params"), number("MACs"))
        table = Table(columns)
        for spec in specs:
            costs = (show(tuple(spec["input"])), count(spec["params"]), count(spec["macs"]))
            table.rows.append((spec["spec"], spec["name"], *costs))
        table.print(console)
        console.print()
        facts(console, [("block", ""), *blocks.items()])
    show_diagnostics(problems)
    return exit_code(problems)


def _specs() -> tuple[list[dict[str, Any]], list[Diagnostic]]:
    from archc.cli.loading import outcomes
    from archc.document.diagnostics import SpecError
    from archc.language.load import LIBRARY
    from archc.reporting.model import Report

    specs: list[dict[str, Any]] = []
    problems: list[Diagnostic] = []
    for name in LIBRARY.names():
        try:
            (outcome,) = outcomes(name, ())
        except SpecError as error:
            problems += error.diagnostics
            continue
        problems += outcome.problems
        if outcome.graph:
            report = Report(outcome.graph)
            cost = {"params": report.params, "macs": report.macs}
            specs.append({"spec": name, "name": report.name, "input": list(report.input), **cost})
    return specs, problems


def _blocks() -> dict[str, str]:
    """The registered blocks, each with the first clause of its docstring."""
    from archc.blocks import REGISTRY

    return {name: _FIRST_CLAUSE.split(" ".join((block.__doc__ or "").split()))[0] for name, block in REGISTRY}
