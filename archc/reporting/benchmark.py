"""What `archc bench` prints, and its CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from archc.reporting.console import line
from archc.reporting.numbers import NOTHING, count, milliseconds
from archc.reporting.tables import Column, Table, facts, number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from archc.analysis.latency import LatencyTable
    from archc.benchmarking.results import Benchmark, Timing


def print_benchmark(console: Console, found: Benchmark) -> None:
    """The table of a benchmark, and below it what was not timed, with the reason."""
    several = len({timing.network for timing in found.timings}) > 1
    columns = [Column("network", style="bold")] if several else []
    columns += [Column("runtime", style="cyan"), Column("version", style="dim"), Column("precision")]
    columns += [number("threads"), number("batch"), number("MB"), number("ms"), number("quartiles", "dim")]
    columns += [number("× eager"), number("difference")]
    table = Table(columns)
    shown = [timing for timing in found.timings if timing.status != "impossible"]
    table.rows = [[timing.network, *_row(timing)] if several else _row(timing) for timing in shown]
    if not several and found.timings:
        console.print(line((found.timings[0].network, "bold")))
        console.print()
    table.print(console)
    console.print()
    facts(console, _facts(found))
    for timing in found.timings:
        if timing.status == "failed":
            console.print(line(("failed: ", "bold red"), f"{_title(timing)}: {timing.reason}"))


def print_measured(console: Console, table: LatencyTable) -> None:
    """What a latency table's networks took; of one network, every row of it."""
    one = len(table.networks) == 1
    shown = Table((Column("row" if one else "network", style="bold"), number("operations"), number("ms")))
    for network in table.networks:
        rows: dict[str, list[float]] = {}
        for unit, ms in network.units:
            rows.setdefault(unit.row, []).append(ms)
        whole = (network.name, count(len(network.units)), milliseconds(network.ms))
        if one:
            shown.rows = [(row, count(len(times)), milliseconds(sum(times))) for row, times in rows.items()]
            shown.total = whole
        else:
            shown.rows.append(whole)
    shown.print(console)
    console.print()
    facts(console, [("measured with", str(table.conditions))])


def csv_of(found: Benchmark) -> str:
    """A benchmark as CSV, one line for each timing, with a header."""
    text = io.StringIO()
    rows = [timing.to_dict() for timing in found.timings]
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(timing: Timing) -> list[str | Text]:
    where: list[str | Text] = [timing.engine, timing.version, timing.precision, str(timing.threads), str(timing.batch)]
    where.append(NOTHING if timing.size is None else f"{timing.size / 1e6:.2f}")
    if timing.spread is None:
        return [*where, line(("failed", "bold red")), "", NOTHING, NOTHING]
    low, middle, high = timing.spread
    ratio = NOTHING if timing.ratio is None else f"{timing.ratio:.2f}"
    difference = NOTHING if timing.difference is None else f"{timing.difference:.1e}"
    return [*where, f"{middle:.2f}", f"{low:.2f} to {high:.2f}", ratio, difference]


def _facts(found: Benchmark) -> list[tuple[str, str]]:
    pairs = [
        ("machine", found.machine),
        ("ms", f"of a whole batch: median and quartiles of all runs in {count(found.rounds)} rounds"),
        ("× eager", "how many times faster than eager torch in f32, by rounds"),
        ("difference", "from eager torch's outputs, relative to the largest of them"),
    ]
    impossible = dict.fromkeys(f"{_engine(t)}: {t.reason}" for t in found.timings if t.status == "impossible")
    pairs += [("not timed", text) for text in impossible]
    pairs += [("not installed", f"{engine}: {text}") for engine, text in found.missing.items()]
    return [*pairs, *(("note", text) for text in found.notes)]


def _engine(timing: Timing) -> str:
    return f"{timing.engine} {timing.precision}"


def _title(timing: Timing) -> str:
    threads = f"{timing.threads} thread{'s' * (timing.threads > 1)}"
    return f"{timing.network}, {_engine(timing)}, {threads}, batch {timing.batch}"
