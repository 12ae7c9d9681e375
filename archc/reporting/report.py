"""A report as text: a table of stages or operations, the totals, and figures for the whole network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.console import Console

from archc.ir.ops import show
from archc.reporting import numbers
from archc.reporting.console import line
from archc.reporting.model import Report, Summary
from archc.reporting.tables import Column, Table, facts, number


def print_report(console: Console, report: Report, overrides: Sequence[str] = (), *, layers: bool = False) -> None:
    """Print a report; with `layers`, one line per primitive operation that costs anything."""
    console.print(line((report.name, "bold"), f"  {show(report.input)}", (f"  {' '.join(overrides)}".rstrip(), "cyan")))
    console.print()
    (_layers(report) if layers else _stages(report)).print(console)
    console.print()
    facts(console, _facts(report))


def _stages(report: Report) -> Table:
    columns = (
        Column("stage", style="bold"),
        Column("blocks"),
        Column("output"),
        number("stride"),
        number("receptive field"),
        number("params"),
        number("%", "dim"),
        number("MACs"),
        number("%", "dim"),
        *_latency_columns(report),
    )
    table = Table(columns)
    for part in report.stages:
        where = (show(part.output), str(part.field.stride), numbers.field(*part.field[:2]))
        costs = (*_costs(part.params, part.macs, report), *_stage_ms(report, part.name))
        table.rows.append((part.name, _blocks(part.blocks), *where, *costs))
    for head in report.heads:
        blocks = f"{_blocks(head.blocks)} on {_times(head.times)}{head.on}"
        costs = (*_costs(head.params, head.macs, report), *_ms(report, head.name))
        table.rows.append((head.name, blocks, show(head.output), "", "", *costs))
    table.total = ("total", "", "", "", "", *_costs(report.params, report.macs, report), *_total_ms(report))
    return table


def _layers(report: Report) -> Table:
    columns = (
        Column("layer"),
        Column("op"),
        Column("output"),
        number("params"),
        number("%", "dim"),
        number("MACs"),
        number("%", "dim"),
        *_latency_columns(report),
    )
    table = Table(columns)
    known = {priced.unit.name: priced.ms for priced in report.latency.units} if report.latency else {}
    for layer in report.layers:
        name = f"{layer.name} on {_times(layer.times)}{layer.on}" if layer.on else layer.name
        ms = _cells(report, known.pop(layer.name, None))
        table.rows.append((name, layer.op, show(layer.output), *_costs(layer.params, layer.macs, report), *ms))
    if known:
        table.rows.append(("other operations", "", "", *[""] * 4, *_cells(report, sum(known.values()))))
    table.total = ("total", "", "", *_costs(report.params, report.macs, report), *_total_ms(report))
    return table


def _latency_columns(report: Report) -> tuple[Column, ...]:
    return (number("ms"), number("%", "dim")) if report.latency else ()


def _stage_ms(report: Report, stage: str) -> tuple[str, ...]:
    rows = report.latency.rows if report.latency else {}
    return _cells(report, sum(ms for row, ms in rows.items() if row.rpartition(".")[0] == stage))


def _ms(report: Report, row: str) -> tuple[str, ...]:
    return _cells(report, report.latency.rows.get(row) if report.latency else None)


def _total_ms(report: Report) -> tuple[str, ...]:
    return _cells(report, report.latency.ms if report.latency else None)


def _cells(report: Report, ms: float | None) -> tuple[str, ...]:
    """Milliseconds and their share of the network's; nothing in a report without them."""
    if report.latency is None:
        return ()
    if ms is None:
        return numbers.NOTHING, ""
    return numbers.milliseconds(ms), f"{100 * ms / report.latency.ms:.1f}"


def _costs(params: int, macs: int, of: Report) -> tuple[str, str, str, str]:
    return numbers.count(params), numbers.share(params, of.params), numbers.count(macs), numbers.share(macs, of.macs)


def _times(times: int) -> str:
    return f"{numbers.count(times)} " if times > 1 else ""


def _blocks(labels: Iterable[str]) -> str:
    """`InvertedResidual ×3, ConvNormAct`."""
    runs = ((label, len(list(run))) for label, run in groupby(labels))
    return ", ".join(f"{label} ×{length}" if length > 1 else label for label, length in runs)


def _facts(report: Report) -> list[tuple[str, str]]:
    where = ", without what runs on proposals" if report.graph.calls else ""
    seen = numbers.field(*report.receptive_field)
    plural = "output" if len(report.outputs) == 1 else "outputs"
    return [
        *((plural if number == 0 else "", _output(part)) for number, part in enumerate(report.outputs)),
        *_per_run(report),
        ("receptive field", "the whole input" if seen == "all" else f"{seen} pixels"),
        ("peak activations", f"{numbers.memory(report.peak_activation_bytes)} for one image in float32{where}"),
        ("MACs by", report.convention),
        *_latency(report),
    ]


def _latency(report: Report) -> Iterator[tuple[str, str]]:
    found = report.latency
    if found is not None:
        where = ", without what runs on proposals" if report.graph.calls else ""
        yield "ms by", f"the latency table: {found.conditions}{where}"
        measured, estimated = numbers.count(found.measured), numbers.count(len(found.units) - found.measured)
        yield "", f"{measured} operations measured, {estimated} estimated from their class"


def _per_run(report: Report) -> Iterator[tuple[str, str]]:
    """Cost of heads that run per proposal."""
    many = [head for head in report.heads if head.times > 1]
    for on in dict.fromkeys(head.on for head in many):
        each = sum(head.macs_each for head in many if head.on == on)
        total = sum(head.macs for head in many if head.on == on)
        times = next(head.times for head in many if head.on == on)
        count = f"{numbers.count(each)} MACs each, at most {numbers.count(times)} of them"
        yield on, f"{count}; {numbers.count(report.macs - total)} for the rest"


def _output(part: Summary) -> str:
    size = show(part.output)
    return f"{part.name}: {size}" + (f", stride {part.field.stride}" if len(part.output) == 3 else "")
