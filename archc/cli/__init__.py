"""The command line. Every command has its own file and imports heavy libraries only when it runs."""

from __future__ import annotations

import click

import archc
from archc.cli.bench import bench
from archc.cli.build import build
from archc.cli.check import check
from archc.cli.convert import convert
from archc.cli.diff import diff
from archc.cli.explain import explain
from archc.cli.export import export
from archc.cli.group import Commands
from archc.cli.list import list_
from archc.cli.predict import predict
from archc.cli.quantize import quantize
from archc.cli.report import report
from archc.cli.schema import schema
from archc.cli.show import show
from archc.cli.weights import weights

HELP = """Compile the block tables of efficient-vision papers: check them, count their cost, build them.

A SPEC is a YAML file or the name of a bundled spec (`archc list`). Settings are changed on the command line in
Hydra's grammar: width_mult=0.75, stages.c4.0.out=48, +vars.x=1, ~stages.c5.

\b
Exit codes:  0  fine
             1  the spec is wrong, or a checkpoint or an image
             2  the command line is wrong, a file cannot be written, or a library is missing"""

main = Commands("archc", help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
main = click.version_option(archc.__version__, message="%(prog)s %(version)s")(main)

for command in (
    report,
    build,
    predict,
    weights,
    convert,
    export,
    quantize,
    bench,
    check,
    show,
    diff,
    list_,
    explain,
    schema,
):
    main.add_command(command)
