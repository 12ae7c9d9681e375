"""`archc build`."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
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
    type=click.Path(file_okay=False, path_type=Path),
    help=f"Write {', '.join(FILES)} and {' or '.join(MODEL_FILES.values())} into this directory.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of the weights.")
@arguments.force
@arguments.counter
def build(request: Request, *, backend: str, output: Path | None, seed: int, force: bool, counter: str | None) -> int:
    """Build the network, print the report, and check one against the other."""
    import archc
    from archc.cli.backends import require_backend
    from archc.cli.counting import count, require_torchvision
    from archc.cli.loading import load, lowered
    from archc.cli.output import out
    from archc.reporting.report import print_report

    files = (*FILES, MODEL_FILES[backend])
    if output is not None and not force:
        arguments.refuse_existing(output / name for name in files)
    spec = load(request.spec, request.overrides)
    report = archc.report(lowered(spec))
    require_backend(backend, report.graph)
    require_torchvision(report.graph)
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
        _write(output, spec, report, model, backend)
        console.print(f"wrote {', '.join(str(output / name) for name in files)}")
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
    """What a backend's own count says of what was built: each number as it was computed, and as it was counted."""

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
    """Numbers of variables: Keras has no counter of operations."""
    from archc.reporting.numbers import count

    params = sum(math.prod(variable.shape) for variable in model.trainable_weights)
    statistics = report.graph.total.buffers
    return Check(
        {"parameters": (report.params, params), "statistics": (statistics, model.count_params() - params)},
        f"the model has {count(report.params)} parameters and {count(statistics)} statistics, counted by Keras; "
        "MACs are computed",
    )


COUNTS = {"torch": _counted_by_torch, "keras": _counted_by_keras}


def _verify(console: Console, check: Check) -> bool:
    """Compare what was computed with what was built; the numbers are shown either way."""
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


def _write(directory: Path, spec: Spec, report: Report, model: Any, backend: str) -> None:
    """Write everything beside the directory first, and move it in place only once all of it is there."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.resolve().parent))
    try:
        _write_files(staging, spec, report, model, backend)
        if directory.is_dir():
            for name in (*FILES, MODEL_FILES[backend]):
                os.replace(staging / name, directory / name)
        else:
            staging.chmod(0o777 & ~_umask())  # mkdtemp's own mode is for secrets
            os.replace(staging, directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_files(directory: Path, spec: Spec, report: Report, model: Any, backend: str) -> None:
    import archc
    from archc.cli.backends import keras
    from archc.cli.counting import require

    resolved = spec.to_yaml(full=True)
    (directory / SPEC_FILE).write_text(resolved, encoding="utf-8")
    (directory / REPORT_FILE).write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    if backend == "keras":
        keras().save(model, directory / MODEL_FILES[backend])
        return
    require("safetensors.torch", "torch")
    archc.save_weights(model, directory / MODEL_FILES[backend])


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
