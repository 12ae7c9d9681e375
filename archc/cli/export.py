"""`archc export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from archc.cli import arguments, deploying
from archc.cli.arguments import Request


@click.command(short_help="Write a trained network into a file for a runtime.")
@arguments.request()
@deploying.weights
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    help="Export the initial weights of this seed in place of a checkpoint, to try a network's speed.",
)
@deploying.source
@deploying.to
@click.option(
    "-o",
    "--output",
    type=arguments.output_path(),
    required=True,
    help="The file to write: .onnx, .tflite, .xml (OpenVINO), .pte (ExecuTorch), .mlpackage (Core ML), .pt2 (torch).",
)
@click.option(
    "--precision",
    type=click.Choice(["f32", "f16"]),
    default="f32",
    show_default=True,
    help="The type of numbers inside. `archc quantize` writes int8.",
)
@deploying.preprocess
@deploying.size
@deploying.batch
@click.option(
    "--nms", is_flag=True, help="For a detector: return boxes, labels and scores, in place of raw predictions."
)
@deploying.classes
@click.option(
    "--check",
    "images",
    multiple=True,
    metavar="IMAGE",
    help="Compare the file with the network on these images too: files, directories, or globs in quotes. Repeatable.",
)
@click.option("--no-check", is_flag=True, help="Do not run the file.")
@arguments.force
@arguments.as_json
def export(
    request: Request,
    *,
    output: Path,
    to: str | None,
    size: tuple[int, int] | str | None,
    batch: int,
    images: tuple[str, ...],
    no_check: bool,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a trained network into a file, and check the file against the network.

    SPEC is a spec with its `--weights`, or the directory or the `model.safetensors` that `archc build -o` wrote. Norms
    are folded, and what only training needs is left out. The file is then run in its runtime beside the network in
    torch, on random numbers and on the images that `--check` names, and the largest difference is printed. A file that
    differs by more than rounding explains is not kept.

    The input is called `image`, and the outputs have the names of the spec's outputs. The file states its spec, so
    `archc predict FILE IMAGE` and `archc report FILE` need nothing else.
    """
    from archc.api import export as write
    from archc.cli.output import out, print_json, show_diagnostics
    from archc.document.diagnostics import no_python_warnings
    from archc.reporting.exported import print_exported

    if images and no_check:
        raise click.UsageError("`--check` and `--no-check` exclude each other.")
    target = deploying.target_of(output, to)
    deploying.refuse_overwriting([output], request.specs, options["weights"], existing=force)
    with no_python_warnings():
        written = write(
            request.spec,
            output,
            to=target,
            overrides=request.overrides,
            check=False if no_check else deploying.found(images) or True,
            overwrite=force,
            allow=arguments.allowed(),
            **deploying.form(size, batch),
            **options,
        )
    show_diagnostics(written.warnings)
    if as_json:
        print_json(written.to_dict())
    else:
        print_exported(out(), written)
