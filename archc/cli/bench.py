"""`archc bench`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from archc.cli import arguments, deploying
from archc.cli.arguments import Request

if TYPE_CHECKING:
    from archc.benchmarking.per_op import Setting
    from archc.exporting.network import Network


class Several(click.ParamType[Any]):
    """Several values in one word, separated by commas."""

    def __init__(self, name: str, convert: Callable[[str], Any]) -> None:
        self.name = name
        self._convert = convert

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(dict.fromkeys(self._convert(part.strip()) for part in value.split(",")))
        except ValueError:
            self.fail(f"`{value}` is no list of {self.name}", param, ctx)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ValueError
    return int(text)


NUMBERS = Several("numbers from 1, separated by commas", _positive)
NAMES = Several("names, separated by commas", str)


class Asked(NamedTuple):
    """What is to be timed, as the options say it."""

    runtimes: tuple[tuple[str, ...], ...]
    threads: tuple[int, ...]
    batch: tuple[int, ...]
    precision: tuple[str, ...]
    rounds: int
    calibrate: tuple[str, ...]

    @property
    def named(self) -> list[str]:
        """The runtimes; empty where none is named."""
        return [name for names in self.runtimes for name in names]

    def images(self) -> tuple[str, ...]:
        """The images of `--calibrate`, for the worker processes."""
        return tuple(str(path.absolute()) for path in deploying.found(self.calibrate))


@click.command(short_help="Time a network on every installed runtime.")
@arguments.request(most=None)
@deploying.weights
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    help="Time the initial weights of this seed.  [default: 0, where no weights are named]",
)
@deploying.source
@click.option(
    "--runtime",
    "runtimes",
    type=NAMES,
    multiple=True,
    metavar="NAME[,NAME...]",
    help="eager or compiled (torch's own), onnxruntime, openvino, litert, executorch, torch, coreml.  "
    "[default: all that are installed]",
)
@click.option("--threads", type=NUMBERS, default="1", show_default=True, metavar="N[,N...]", help="Threads.")
@click.option("--batch", type=NUMBERS, default="1", show_default=True, metavar="N[,N...]", help="Images at a time.")
@click.option(
    "--precision",
    type=NAMES,
    default="f32",
    show_default=True,
    metavar="NAME[,NAME...]",
    help="f32, f16, bf16 or int8.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="How often each runtime runs, for about a quarter of a second.",
)
@click.option(
    "--calibrate",
    multiple=True,
    metavar="IMAGE",
    help="Images for the ranges of int8: files, directories, or globs in quotes.  [default: random ones]",
)
@click.option(
    "--per-op",
    is_flag=True,
    help="Time each operation on one runtime (onnxruntime, openvino or eager; by default onnxruntime), and write a "
    "latency table for `archc report --latency`.",
)
@click.option(
    "-o", "--output", type=arguments.output_path(directory=False), metavar="TABLE", help="The latency table to write."
)
@click.option("--append", is_flag=True, help="Add to the latency table; with --force, measure its networks anew.")
@click.option("--csv", "csv", type=arguments.output_path(directory=False), help="Write the timings into this file too.")
@arguments.force
@arguments.as_json
def bench(
    request: Request,
    *,
    weights: Path | None,
    seed: int | None,
    source: str,
    per_op: bool,
    output: Path | None,
    append: bool,
    csv: Path | None,
    force: bool,
    as_json: bool,
    **asked: Any,
) -> int:
    """Time networks on every installed runtime, beside eager torch.

    Each runtime runs in a process of its own, pinned to as many processors as it may use threads, on the file that
    `archc export` writes for it. Its outputs are first compared with those of eager torch. Then all run in turn, for
    several rounds, and those that wait are stopped. Several values for a key, as in width_mult=0.5,1.0, time every
    combination.

    The exit code is 1 if something failed that should work; the others are timed all the same.

    With `--per-op -o TABLE`, the latency of every operation is written into a table instead, which holds for one
    runtime, precision, number of threads and batch.
    """
    from archc.benchmarking.bench import run
    from archc.benchmarking.networks import networks
    from archc.cli.output import out, print_json, show_diagnostics
    from archc.document.diagnostics import no_python_warnings
    from archc.files import write_text
    from archc.reporting.benchmark import csv_of, print_benchmark

    _check_outputs(per_op, output, append=append, csv=csv)
    written = [path for path in (csv, output) if path is not None]
    deploying.refuse_overwriting(written, request.specs, weights, existing=force or append)
    try:
        plan = _setting(Asked(**asked)) if per_op else _plan(Asked(**asked))
        with no_python_warnings():
            found = networks(
                request.specs,
                overrides=request.overrides,
                weights=weights,
                seed=seed,
                source=source,
                allow=arguments.allowed(),
            )
    except ValueError as error:
        if getattr(error, "diagnostics", None):
            raise
        raise click.UsageError(f"{error}.") from None
    show_diagnostics([warning for network in found.values() for warning in network.warnings])
    if output is not None:
        return _per_op(found, plan, output, append=append, force=force, as_json=as_json)
    timed = run(found, plan, _announce())
    if csv is not None:
        write_text(csv, csv_of(timed), overwrite=force)
    if as_json:
        print_json(timed.to_dict())
    else:
        print_benchmark(out(), timed)
    return 1 if timed.failed else 0


def _plan(asked: Asked) -> Any:
    from archc.benchmarking.plan import ALL, Plan, chosen

    plan = Plan(chosen(asked.named or [ALL]), asked.threads, asked.batch, asked.precision, asked.rounds, asked.images())
    plan.check()
    return plan


def _check_outputs(per_op: bool, output: Path | None, *, append: bool, csv: Path | None) -> None:
    if per_op and output is None:
        raise click.UsageError("`--per-op` needs the table to write: `-o TABLE`.")
    if per_op and csv is not None:
        raise click.UsageError("`--csv` has no place for single operations: leave it out, or `--per-op`.")
    if not per_op and (output is not None or append):
        raise click.UsageError(f"`{'-o' if output is not None else '--append'}` is about the table of `--per-op`.")


def _setting(asked: Asked) -> Any:
    from archc.benchmarking.per_op import Setting

    named, threads, batch, precision = asked.named or ["onnxruntime"], asked.threads, asked.batch, asked.precision
    for what, values in {"runtime": named, "threads": threads, "batch": batch, "precision": precision}.items():
        if len(values) > 1:
            raise ValueError(f"a latency table holds for one `--{what}`, and {len(values)} are named")
    setting = Setting(named[0], precision[0], threads[0], batch[0], asked.rounds, asked.images())
    setting.check()
    return setting


def _per_op(
    networks: dict[str, Network], setting: Setting, output: Path, *, append: bool, force: bool, as_json: bool
) -> int:
    from archc.analysis.latency import LatencyTable
    from archc.benchmarking.per_op import conditions, measure
    from archc.benchmarking.process import WorkerError
    from archc.cli.output import out, print_json
    from archc.files import write_text
    from archc.reporting.benchmark import print_measured

    before = LatencyTable.read(output) if append and output.exists() else None
    if before is not None:
        before.check(conditions(setting), networks, replacing=force)
    try:
        measured = measure(networks, setting, _announce())
    except WorkerError as error:
        raise click.ClickException(str(error)) from None
    table = measured if before is None else before.joined(measured, replacing=force)
    write_text(output, table.to_json(), overwrite=force or before is not None)
    if as_json:
        print_json(measured.to_dict())
    else:
        print_measured(out(), measured)
        out().print(f"wrote {output}: {len(table.networks)} networks, {len(table.known):,} different operations")
    return 0


def _announce() -> Callable[[str], None]:
    """A line on a terminal's stderr that says what is done."""
    import sys

    if not sys.stderr.isatty():
        return lambda _: None

    def step(text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}" if text else "\r\x1b[K")
        sys.stderr.flush()

    return step
