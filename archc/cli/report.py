"""`archc report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from archc.cli import arguments
from archc.cli.arguments import Request
from archc.cli.deploying import ANY, Size

if TYPE_CHECKING:
    from archc.ir.graph import Graph


class Shown(NamedTuple):
    """What is shown of a network, and how."""

    as_json: bool
    layers: bool
    counter: str | None
    latency: Path | None


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
@arguments.transforms
@click.option(
    "--size",
    type=Size(),
    metavar="N|HxW",
    help="Of another program's `.onnx` file: the size of images, where the file leaves it open.",
)
def report(
    request: Request,
    *,
    as_json: bool,
    layers: bool,
    counter: str | None,
    latency: Path | None,
    transforms: tuple[str, ...],
    size: Any,
) -> int:
    """Count a network's cost without building it: shapes, parameters, MACs, memory.

    Several values for a key, as in width_mult=0.5,0.75,1.0 or width_mult=range(1,4), compare every combination in
    one table.

    In place of a SPEC, a file that `archc export` wrote is priced as the network that it states. An `.onnx` file of
    another program is priced by its own graph, if the cost of all its operations is known.
    """
    from archc.cli.loading import is_sweep, load, lowered
    from archc.runtimes import runtime_of

    asked = Shown(as_json, layers, counter, latency)
    if runtime_of(request.spec) is not None:
        if request.overrides or transforms:
            raise click.UsageError("A file holds its network as it is: leave `--transform` and KEY=VALUE out.")
        return _file(Path(request.spec), asked, None if size == ANY else size)
    if size is not None:
        raise click.UsageError("`--size` is for an `.onnx` file; a spec has `input.size=224`.")
    if is_sweep(request.overrides):
        for option, given in (("counter", counter), ("layers", layers), ("transform", transforms)):
            if given:
                raise click.UsageError(f"`--{option}` takes one network, not a sweep.")
        return _sweep(request, as_json, latency)
    return _single(lowered(load(request.spec, request.overrides), transforms), request.overrides, asked)


def _file(path: Path, asked: Shown, size: tuple[int, int] | None) -> int:
    from archc.cli.output import out, print_json
    from archc.ir.graph import Graph
    from archc.reporting.file import print_file, read, to_dict

    found = read(path, size)
    if isinstance(found, Graph):
        return _single(found, (), asked)
    for option, given in (("counter", asked.counter), ("latency", asked.latency)):
        if given:
            message = f"`--{option}` needs a network of archc's, which `{path}` does not state."
            raise click.UsageError(message)
    if asked.as_json:
        print_json(to_dict(found))
    else:
        print_file(out(), found, layers=asked.layers)
    return 0


def _single(graph: Graph, overrides: Sequence[str], asked: Shown) -> int:
    import archc
    from archc.cli.output import out, print_json

    counted = archc.report(graph, latency=asked.latency)
    compared = None
    if asked.counter:
        from archc.cli.counting import count

        compared = count(asked.counter, counted)
    if asked.as_json:
        print_json(counted.to_dict() | ({"counter": compared.to_dict()} if compared else {}))
        return 0
    from archc.reporting.report import print_report

    console = out()
    print_report(console, counted, overrides, layers=asked.layers)
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
