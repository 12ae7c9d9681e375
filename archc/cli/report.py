"""`archc report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archc.cli import arguments
from archc.cli.arguments import Request
from archc.cli.deploying import ANY, Size

if TYPE_CHECKING:
    from archc.ir.graph import Graph


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

    if runtime_of(request.spec) is not None:
        if request.overrides or transforms:
            raise click.UsageError("A file holds its network as it is: leave `--transform` and KEY=VALUE out.")
        return _file(Path(request.spec), as_json, layers, counter, latency, None if size == ANY else size)
    if size is not None:
        raise click.UsageError("`--size` is for an `.onnx` file; a spec has `input.size=224`.")
    if is_sweep(request.overrides):
        for option, given in (("counter", counter), ("layers", layers), ("transform", transforms)):
            if given:
                raise click.UsageError(f"`--{option}` takes one network, not a sweep.")
        return _sweep(request, as_json, latency)
    return _single(
        lowered(load(request.spec, request.overrides), transforms), request, as_json, layers, counter, latency
    )


def _file(
    path: Path, as_json: bool, layers: bool, counter: str | None, latency: Path | None, size: tuple[int, int] | None
) -> int:
    from archc.cli.output import out, print_json
    from archc.ir.graph import Graph
    from archc.reporting.file import print_file, read, to_dict

    found = read(path, size)
    if isinstance(found, Graph):
        return _single(found, Request((str(path),), ()), as_json, layers, counter, latency)
    for option, given in (("counter", counter), ("latency", latency)):
        if given:
            message = f"`--{option}` needs a network of archc's, which `{path}` does not state."
            raise click.UsageError(message)
    if as_json:
        print_json(to_dict(found))
    else:
        print_file(out(), found, layers=layers)
    return 0


def _single(
    graph: Graph, request: Request, as_json: bool, layers: bool, counter: str | None, latency: Path | None
) -> int:
    import archc
    from archc.cli.output import out, print_json

    counted = archc.report(graph, latency=latency)
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
