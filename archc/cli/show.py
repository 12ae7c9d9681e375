"""`archc show`."""

from __future__ import annotations

import sys

import click

from archc.cli import arguments
from archc.cli.arguments import Request


@click.command(short_help="The spec after any pass, as YAML.")
@arguments.request()
@click.option(
    "--after",
    metavar="PASS",
    default="load",
    show_default=True,
    help="`load` for the spec before any pass, the name of a pass, or `lower` for the graph.",
)
@click.option("--full", is_flag=True, help="Every setting, not only what was written.")
def show(request: Request, after: str, full: bool) -> None:
    """Show the spec as YAML, resolved, after any of the compiler's passes; or the graph."""
    from archc import passes
    from archc.cli.loading import load, lowered
    from archc.document.diagnostics import did_you_mean, one_of

    known = ["load", *passes.PASSES, "lower"]
    if after not in known:
        hint = did_you_mean(after, known) or one_of(known)
        raise click.BadParameter(f"there is no pass `{after}`; {hint}", param_hint="'--after'")
    spec = load(request.spec, request.overrides)
    if after == "lower":
        from archc.ir.printer import text

        sys.stdout.write(text(lowered(spec)) + "\n")
        return
    sys.stdout.write((spec if after == "load" else passes.run(spec, after)).to_yaml(full=full))
