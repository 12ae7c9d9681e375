"""`archc weights`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from archc.cli import arguments

if TYPE_CHECKING:
    from rich.console import Console

    from archc.weights.carrying.report import LoadReport


class Pair(NamedTuple):
    """The positional arguments, sorted."""

    spec: str
    checkpoint: Path
    overrides: tuple[str, ...]


def _parse(context: click.Context, _: click.Parameter, words: tuple[str, ...]) -> Pair:
    # `epoch=3.pth` is a file, whatever it looks like.
    overrides = tuple(word for word in words if arguments.split([word]).overrides and not Path(word).is_file())
    named = [word for word in words if word not in overrides]
    if len(named) < 2:
        raise click.UsageError("Name a spec, and the checkpoint to check against it.", context)
    if len(named) > 2:
        raise click.UsageError(f"`{named[2]}` is one file too many; an override is written KEY=VALUE.", context)
    return Pair(named[0], Path(named[1]), overrides)


@click.command(short_help="Check a checkpoint against a spec, and convert it.")
@click.argument("pair", nargs=-1, callback=_parse, metavar="SPEC CHECKPOINT [KEY=VALUE]...")
@click.option("--source", default="auto", show_default=True, help="The library whose names the checkpoint has.")
@click.option(
    "--partial", multiple=True, metavar="STAGE", help="Leave this stage or row as initialised. May be repeated."
)
@click.option("-o", "--output", type=arguments.output_path(), help="Write the weights into this .safetensors file.")
@click.option("--names", default="archc", show_default=True, help="The library whose names to write them under.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Seed of the weights that --partial leaves.",
)
@arguments.force
@arguments.as_json
@arguments.allow_blocks
def weights(
    pair: Pair,
    *,
    source: str,
    partial: tuple[str, ...],
    output: Path | None,
    names: str,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Hold a checkpoint against a spec: archc's own, or one that another library or its users published.

    Every tensor is accounted for, stage by stage. If the checkpoint does not fit, a report shows the rows that differ
    and the change that would fit. With -o, the weights are written to a file in float32, under archc's names or a
    library's.
    """
    import archc
    from archc.cli.loading import load, load_weights, lowered
    from archc.cli.output import out, print_json, show_diagnostics
    from archc.weights import read_state, save_state

    if output is not None:
        arguments.refuse_sources([output], [pair.checkpoint])
    spec = load(pair.spec, pair.overrides)
    graph = lowered(spec)
    written: tuple[str, ...] = ()
    if partial:  # what is left is as torch initialises it
        model = archc.build(graph, seed=seed)
        report = load_weights(model, pair.checkpoint, source, partial)
        if output is not None:
            written = archc.save_weights(model, output, names, overwrite=force)
    else:
        state, report = read_state(pair.checkpoint, graph, source)
        if output is not None:
            written = save_state(state, graph, output, names, overwrite=force)
    show_diagnostics(report.warnings)
    if as_json:
        print_json({"spec": spec.name, **report.to_dict(), "output": str(output) if output else None})
        return
    console = out()
    _print(console, spec.name, report)
    if output is not None:
        console.print(f"wrote {output}: {len(written)} tensors under {names}'s names")


def _print(console: Console, spec: str, report: LoadReport) -> None:
    from archc.reporting.console import line
    from archc.reporting.numbers import count
    from archc.reporting.tables import Column, Table, number

    console.print(line((report.file, "bold"), " fits ", (spec, "bold")))
    for said in report.lines():
        console.print(said)
    console.print()
    table = Table((Column("stage", style="bold"), number("tensors"), number("params")))
    table.rows = [(stage.name, count(stage.tensors), count(stage.params)) for stage in report.stages]
    table.total = ("total", count(report.tensors), count(report.params))
    table.print(console)
