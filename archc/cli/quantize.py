"""`archc quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from archc.cli import arguments, deploying
from archc.cli.arguments import Request

METHODS = ("minmax", "percentile", "mse")


@click.command(short_help="Write a trained network into a file in int8, and say what that changes.")
@arguments.request()
@deploying.weights
@deploying.source
@click.option(
    "--calibrate",
    "images",
    multiple=True,
    metavar="IMAGE",
    help="Gather the ranges of the network's values from these images: files, directories, or globs in quotes. "
    "Repeatable.",
)
@deploying.to
@click.option(
    "-o",
    "--output",
    type=arguments.output_path(),
    help="The file to write: .onnx, .tflite, .xml (OpenVINO) or .pte (ExecuTorch).  [default: only measure]",
)
@click.option(
    "--ranges",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With `--calibrate`, also write the ranges into this file; without it, read them from there. Every target can "
    "be written from them.",
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default=METHODS[0],
    show_default=True,
    help="Cover all numbers that were seen, leave out the most extreme ones, or take the least squared error.",
)
@click.option("--equalise", is_flag=True, help="First scale channels to like sizes (the transform `equalise`).")
@click.option(
    "--check",
    multiple=True,
    metavar="IMAGE",
    help="Compare int8 with float on these images too. Repeatable.",
)
@click.option(
    "--keep-float",
    multiple=True,
    metavar="ROW|auto",
    help="Leave this row in float, such as `c4.0`; or, with `auto`, the rows that lose most, until `--min-agreement` "
    "is reached. Repeatable.",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1, min_open=True),
    help="The share of images that must keep their most probable class; fewer are an error, and no file is kept.",
)
@click.option("--sensitivity", is_flag=True, help="Measure what each row loses when it alone computes in int8.")
@deploying.preprocess
@deploying.size
@deploying.batch
@deploying.classes
@arguments.force
@arguments.as_json
def quantize(
    request: Request,
    *,
    images: tuple[str, ...],
    to: str | None,
    output: Path | None,
    ranges: Path | None,
    check: tuple[str, ...],
    keep_float: tuple[str, ...],
    sensitivity: bool,
    size: tuple[int, int] | str | None,
    batch: int,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Quantise a trained network to int8, and compare it with float on images.

    SPEC is a spec with its `--weights`, or the directory or the `model.safetensors` that `archc build -o` wrote. The
    images of `--calibrate` give the range of every value, and weights are corrected on them for what int8 loses. Some
    dozens that look like the network's later ones are enough.

    For each row, the table shows its weights' size and the cosine between its results in float and in int8. An image
    whose most probable class changes is always named.
    """
    from archc.cli.output import out, print_json, show_diagnostics
    from archc.document.diagnostics import no_python_warnings
    from archc.reporting.quantized import print_quantized

    if not images and ranges is None:
        raise click.UsageError("Name images to calibrate on (`--calibrate`), or a file of `--ranges`.")
    if "auto" in keep_float and options["min_agreement"] is None:
        raise click.UsageError("`--keep-float auto` needs `--min-agreement`.")
    if (options["min_agreement"] is not None or sensitivity) and not images and not check:
        raise click.UsageError("Agreement is measured on images: name some with `--check`.")
    if output is None and to is not None:
        raise click.UsageError("`--to` needs a file: name it with `-o`.")
    written = [path for path in (output, ranges if images else None) if path is not None]
    target = None if output is None else deploying.target_of(output, to)
    deploying.refuse_overwriting(written, request.specs, options["weights"], existing=force)
    from archc.quantization.quantize import quantize as run

    with no_python_warnings():
        found = run(
            request.spec,
            deploying.found(images) or None,
            to=target,
            path=output,
            overrides=request.overrides,
            ranges=None if images else ranges,
            check=deploying.found(check) or None,
            keep_float=keep_float,
            by_row=sensitivity,
            overwrite=force,
            allow=arguments.allowed(),
            **deploying.form(size, batch),
            **options,
        )
    if images and ranges is not None:
        found.save_ranges(ranges, overwrite=force)
    show_diagnostics(found.warnings)
    if as_json:
        print_json({**found.to_dict(), "warnings": [warning.to_dict() for warning in found.warnings]})
    else:
        print_quantized(out(), found)
