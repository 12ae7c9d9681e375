"""A sweep as one table: a row for every combination of the swept values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from archc.document.diagnostics import Diagnostic
from archc.reporting import numbers
from archc.reporting.console import line
from archc.reporting.model import Report
from archc.reporting.tables import Column, Table, number

if TYPE_CHECKING:
    from archc.analysis.latency import Latency


@dataclass(frozen=True, slots=True)
class Variant:
    """One combination of overrides, with its report or its problems.

    `overrides` maps the path of every override to its value; `swept` maps the path of each swept one to its value as
    written.
    """

    overrides: Mapping[str, object]
    swept: Mapping[str, str]
    report: Report | None = None
    problems: tuple[Diagnostic, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the report's own keys and `overrides`, or `overrides` and `diagnostics`."""
        if self.report is None:
            return {"overrides": dict(self.overrides), "diagnostics": [d.to_dict() for d in self.problems]}
        return {**self.report.to_dict(), "overrides": dict(self.overrides)}


def print_sweep(console: Console, variants: Sequence[Variant]) -> None:
    """Print the comparison. Ratios are relative to the first combination that has a report."""
    reports = [variant.report for variant in variants if variant.report]
    if reports:
        console.print(line((reports[0].name, "bold"), f"  {len(variants)} variants"))
        console.print()
    base = reports[0] if reports else None
    columns = [Column(key, style="cyan") for key in variants[0].swept]
    columns += [number("params"), number("", "dim"), number("MACs"), number("", "dim"), number("peak memory")]
    columns += [number("ms"), number("", "dim")] if base and base.latency else []
    failed = any(variant.problems for variant in variants)
    table = Table([*columns, Column("")] if failed else columns)
    table.rows = [_row(variant, base, failed) for variant in variants]
    table.print(console)
    if base:
        console.print()
        console.print(line(("MACs by ", "dim"), base.convention))
        if base.latency:
            console.print(line(("ms by ", "dim"), f"the latency table: {base.latency.conditions}"))
            _estimated(console, [report.latency for report in reports if report.latency])


def _estimated(console: Console, found: Sequence[Latency]) -> None:
    total, measured = sum(len(latency.units) for latency in found), sum(latency.measured for latency in found)
    counts = f"{numbers.count(measured)} measured, {numbers.count(total - measured)} estimated from their class"
    console.print(line(("operations ", "dim"), counts))


def _row(variant: Variant, base: Report | None, failed: bool) -> list[str | Text]:
    row: list[str | Text] = list(variant.swept.values())
    report = variant.report
    if report is None or base is None:
        ids = dict.fromkeys(f"error[{problem.id}]" for problem in variant.problems)
        latency = [numbers.NOTHING, ""] if base and base.latency else []
        return [*row, *[numbers.NOTHING, ""] * 2, numbers.NOTHING, *latency, line((", ".join(ids), "bold red"))]
    row += [numbers.count(report.params), numbers.ratio(report.params, base.params)]
    row += [numbers.count(report.macs), numbers.ratio(report.macs, base.macs)]
    row += [numbers.memory(report.peak_activation_bytes)]
    if report.latency and base.latency:
        row += [numbers.milliseconds(report.latency.ms), numbers.ratio(report.latency.ms, base.latency.ms)]
    return [*row, ""] if failed else row
