"""`archc report`."""

from __future__ import annotations

from pathlib import Path

import click

from archc.cli import arguments
from archc.cli.arguments import Request


@click.command(short_help="Count a network's cost without building it.")
@arguments.request()
@arguments.as_json
@click.option("--layers", is_flag=True, help="One line per operation instead of one per stage.")
@arguments.counter
@click.option(
    "--latency",
    type=click.Path(path_type=Path),
    metavar="TABLE",
    help="Add milliseconds, by a table that `archc bench --per-op` measured.",
)
def report(request: Request, as_json: bool, layers: bool, counter: str | None, latency: Path | None) -> int:
    """Count a network's cost without building it: shapes, parameters, MACs, memory.

    Several values for a key, as in width_mult=0.5,0.75,1.0 or width_mult=range(1,4), compare every combination in
    one table.
    """
    from archc.cli.loading import is_sweep

    if is_sweep(request.overrides):
        if counter or layers:
            raise click.UsageError(f"`--{'counter' if counter else 'layers'}` takes one network, not a sweep.")
        return _sweep(request, as_json, latency)
    return _single(request, as_json, layers, counter, latency)


def _single(request: Request, as_json: bool, layers: bool, counter: str | None, latency: Path | None) -> int:
    import archc
    from archc.cli.loading import load, lowered
    from archc.cli.output import out, print_json

    counted = archc.report(lowered(load(request.spec, request.overrides)), latency=latency)
    compared = None
    if counter:
        from archc.cli.counting import count

        compared = count(counter, counted)
    if as_json:
        print_json(counted.to_dict() | ({"counter": compared.to_dict()} if compared else {}))
        return 0
    from archc.reporting.report import print_report

    console = out()
    print_report(console, counted, request.overrides, layers=layers)
    if compared:
        from archc.reporting.comparison import print_comparison

        console.print()
        print_comparison(console, compared)
    return 0


def _sweep(request: Request, as_json: bool, latency: Path | None) -> int:
    from archc.cli.loading import variants
    from archc.cli.output import exit_code, out, print_json
    from archc.reporting.sweep import print_sweep

    found = variants(request.spec, request.overrides, latency)
    if as_json:
        print_json([variant.to_dict() for variant in found])
    else:
        print_sweep(out(), found)
    return 1 if exit_code([problem for variant in found for problem in variant.problems]) else 0
