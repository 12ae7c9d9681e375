"""`archc build`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from archc.cli import arguments
from archc.cli.arguments import Request
from archc.weights.files import MODEL_FILES, REPORT_FILE, SPEC_FILE

if TYPE_CHECKING:
    from rich.console import Console

    from archc.language.schema import Spec
    from archc.reporting.model import Report

FILES = (SPEC_FILE, REPORT_FILE)


@click.command(short_help="Build the network and verify its report.")
@arguments.request()
@click.option(
    "--backend",
    type=click.Choice(list(MODEL_FILES)),
    default="torch",
    show_default=True,
    help="The library to build with: a torch module, or a functional Keras model.",
)
@click.option(
    "-o",
    "--output",
    type=arguments.output_path(file=False),
    help=f"Write {', '.join(FILES)} and {' or '.join(MODEL_FILES.values())} into this directory.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of the initial weights."
)
@arguments.transforms
@arguments.force
@arguments.counter
def build(
    request: Request,
    *,
    backend: str,
    output: Path | None,
    seed: int,
    transforms: tuple[str, ...],
    force: bool,
    counter: str | None,
) -> int:
    """Build the network, print its report, and check that the two agree."""
    import archc
    from archc.cli.backends import require_backend, require_safetensors
    from archc.cli.counting import count
    from archc.cli.loading import load, lowered
    from archc.cli.output import out
    from archc.reporting.report import print_report

    if output is not None:
        _check_output(output, request.spec, force)
    spec = load(request.spec, request.overrides)
    report = archc.report(lowered(spec, transforms))
    require_backend(backend, report.graph)
    if output is not None and backend == "torch":
        require_safetensors()
    model = _build(report, backend, seed)
    console = out()
    print_report(console, report, request.overrides)
    if counter:
        from archc.reporting.comparison import print_comparison

        console.print()
        print_comparison(console, count(counter, report))
    console.print()
    if not _verify(console, COUNTS[backend](report, model)):
        return 1
    if output is not None:
        removed = _write(output, spec, report, model, backend, force=force)
        console.print(f"wrote {', '.join(str(output / name) for name in (*FILES, MODEL_FILES[backend]))}")
        for path in removed:
            console.print(f"removed {path}: the weights of the network that was there before")
    return 0


def _build(report: Report, backend: str, seed: int) -> Any:
    import archc

    try:
        return archc.build(report.graph, seed=seed, backend=backend)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        from archc.reporting.numbers import count, memory

        needed = f"{count(report.params)} parameters take {memory(4 * report.params)}"
        raise click.ClickException(f"there is not enough memory: {needed}") from None


class Check(NamedTuple):
    """A backend's own count of a built network: each number as computed and as counted, and a line that says so."""

    numbers: dict[str, tuple[int, int]]
    verified: str


def _counted_by_torch(report: Report, model: Any) -> Check:
    from archc.cli.counting import meta_flops
    from archc.reporting.numbers import count

    params = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    flops = sum(meta_flops(report).values())
    return Check(
        {"parameters": (report.params, params), "FLOPs, 2 × MACs": (2 * report.macs, flops)},
        f"the module has {count(report.params)} parameters and {count(report.macs)} MACs, counted by torch",
    )


def _counted_by_keras(report: Report, model: Any) -> Check:
    """The numbers of variables only: Keras does not count operations."""
    from archc.backends.keras import BACKEND
    from archc.reporting.numbers import count

    params = sum(math.prod(variable.shape) for variable in model.trainable_weights)
    built = BACKEND.covers(report.graph)
    statistics = built.total.buffers
    rest = "" if built is report.graph else "; it has no heads on proposals"
    return Check(
        {"parameters": (built.total.params, params), "statistics": (statistics, _statistics(model))},
        f"the model has {count(params)} parameters and {count(statistics)} statistics, counted by Keras; "
        f"MACs are computed{rest}",
    )


def _statistics(model: Any) -> int:
    """Numbers in variables that do not train, without the states of random generators."""
    held = [variable for variable in model.non_trainable_variables if "seed_generator" not in variable.path]
    return sum(math.prod(variable.shape) for variable in held)


COUNTS = {"torch": _counted_by_torch, "keras": _counted_by_keras}


def _verify(console: Console, check: Check) -> bool:
    """Compare the computed numbers with the counted ones, and print the result."""
    from archc.cli.output import err
    from archc.reporting.console import line
    from archc.reporting.numbers import count

    if all(computed == counted for computed, counted in check.numbers.values()):
        console.print(line(("verified", "bold green"), f": {check.verified}"))
        return True
    wrong = err()
    wrong.print(line(("error", "bold red"), (": the network is not what was computed; this is a bug in archc", "bold")))
    for what, (computed, counted) in check.numbers.items():
        wrong.print(f"  {what}: computed {count(computed)}, counted {count(counted)}")
    return False


def _write(directory: Path, spec: Spec, report: Report, model: Any, backend: str, *, force: bool) -> Sequence[Path]:
    """Write the spec, the report and the weights as one; returns the other backends' weights that this removed.

    A directory never holds weights of another spec than the one in it. The weights are its last file: `archc predict`
    refuses a directory that lacks them.
    """
    import archc
    from archc.cli.backends import keras
    from archc.files import replacing_together, write_text

    others = [name for name in MODEL_FILES.values() if name != MODEL_FILES[backend]]
    obsolete = [directory / name for name in others if os.path.lexists(directory / name)]
    weights = MODEL_FILES[backend]
    try:
        with replacing_together(directory, (*FILES, weights), others, overwrite=force) as staging:
            write_text(staging / SPEC_FILE, spec.to_yaml(full=True))
            write_text(staging / REPORT_FILE, json.dumps(report.to_dict(), indent=2) + "\n")
            if backend == "keras":
                keras().save(model, staging / weights)
            else:
                archc.save_weights(model, staging / weights)
    except FileExistsError as error:  # another program wrote it while this one built the network
        arguments.refuse_existing([Path(error.filename)])
        raise
    return obsolete


def _check_output(directory: Path, source: str, force: bool) -> None:
    """Check that this command may write into a directory.

    Raises:
        UsageError: it would overwrite a file without `--force`, or the spec that it builds.
        SpecError: the spec cannot be read.
    """
    from archc.cli.loading import sources

    if not force:
        arguments.refuse_existing(directory / name for name in (*FILES, *MODEL_FILES.values()))
    elif os.path.lexists(directory / SPEC_FILE):
        arguments.refuse_sources([directory / SPEC_FILE], sources(source))
