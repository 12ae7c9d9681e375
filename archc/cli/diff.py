"""`archc diff`."""

from __future__ import annotations

import click

from archc.cli import arguments
from archc.cli.arguments import Request

_SIDE = "Override {} only; may be given again."


@click.command(short_help="The differences between two specs, and what they cost.")
@arguments.request(most=2)
@click.option("--a", "only_a", multiple=True, metavar="KEY=VALUE", help=_SIDE.format("the first spec"))
@click.option("--b", "only_b", multiple=True, metavar="KEY=VALUE", help=_SIDE.format("the second spec"))
@arguments.as_json
def diff(request: Request, only_a: tuple[str, ...], only_b: tuple[str, ...], as_json: bool) -> None:
    """Compare two specs: settings, rows after all passes, and costs.

    A single spec is compared with itself under --a and --b. Other overrides apply to both sides.
    """
    from archc.analysis.diff import diff as compare
    from archc.cli.loading import load
    from archc.cli.output import out, print_json
    from archc.reporting.diff import print_diff

    before = load(request.specs[0], (*request.overrides, *only_a))
    after = load(request.specs[-1], (*request.overrides, *only_b))
    found = compare(before, after)
    if as_json:
        print_json(found.to_dict())
    else:
        labels = [" ".join((spec.name, *overrides)) for spec, overrides in ((before, only_a), (after, only_b))]
        print_diff(out(), found, (labels[0], labels[1]))
