"""`archc show`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from archc.cli import arguments
from archc.cli.arguments import Request

if TYPE_CHECKING:
    from archc.ir.graph import Graph


@click.command(short_help="The spec after any pass, as YAML; or the graph.")
@arguments.request()
@click.option(
    "--after",
    metavar="PASS",
    default="load",
    show_default=True,
    help="`load` for the spec before any pass, the name of a pass, or `lower` for the graph, as `--graph`.",
)
@click.option("--full", is_flag=True, help="Every setting, not only what was written.")
@click.option("--graph", "as_graph", is_flag=True, help="Show the graph that the spec is lowered to after all passes.")
@click.option("--json", "as_json", is_flag=True, help="With `--graph`: its JSON form, which `Graph.from_json` reads.")
@arguments.transforms
def show(
    request: Request, *, after: str, full: bool, as_graph: bool, as_json: bool, transforms: tuple[str, ...]
) -> None:
    """Show the spec as YAML, resolved, after any of the compiler's passes; or the graph."""
    from archc import passes
    from archc.cli.loading import load, lowered
    from archc.document.diagnostics import did_you_mean, one_of

    known = ["load", *passes.PASSES, "lower"]
    if after not in known:
        hint = did_you_mean(after, known) or one_of(known)
        raise click.BadParameter(f"there is no pass `{after}`; {hint}", param_hint="'--after'")
    if as_graph and after not in ("load", "lower"):
        raise click.UsageError(f"`--graph` shows what comes after all passes: leave out `--after {after}`.")
    as_graph = as_graph or after == "lower"
    if as_graph and full:
        raise click.UsageError("`--full` is for specs; a graph is always shown whole.")
    if not as_graph and (as_json or transforms):
        raise click.UsageError(f"`--{'json' if as_json else 'transform'}` is for graphs: add `--graph`.")
    spec = load(request.spec, request.overrides)
    if as_graph:
        _show_graph(lowered(spec, transforms), as_json)
        return
    sys.stdout.write((spec if after == "load" else passes.run(spec, after)).to_yaml(full=full))


def _show_graph(graph: Graph, as_json: bool) -> None:
    from archc.ir.printer import text

    sys.stdout.write((json.dumps(graph.to_json(), indent=2) if as_json else text(graph)) + "\n")
