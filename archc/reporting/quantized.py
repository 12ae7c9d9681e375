"""What `archc quantize` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archc.reporting.console import line
from archc.reporting.exported import print_exported
from archc.reporting.numbers import count, memory
from archc.reporting.tables import Column, Table, number

if TYPE_CHECKING:
    from rich.console import Console

    from archc.quantization.agreement import Agreement
    from archc.quantization.quantize import Judged, Quantized


def print_quantized(console: Console, found: Quantized) -> None:
    """Every row, then how the network agrees with float, then the file."""
    if found.rows:
        _print_rows(console, found)
        console.print()
    table = Table(
        [Column("images"), Column("int8 by"), number("top-1 as in float"), number("shift"), number("least cosine")]
    )
    for name, judged in (("calibration", found.calibration), ("check", found.check)):
        if judged is not None:
            table.rows.append([name, "simulation", *_agreement(judged.simulated)])
            if judged.file is not None and found.exported is not None:
                table.rows.append([name, found.exported.target, *_agreement(judged.file)])
    if table.rows:
        table.print(console)
    if reason := _unchecked(found.check or found.calibration):
        console.print(line(("the file was not run: ", "dim"), reason))
    if found.kept_float:
        console.print(line("rows left in float: ", (", ".join(found.kept_float), "bold")))
    if found.exported is not None:
        console.print()
        print_exported(console, found.exported)


def _print_rows(console: Console, found: Quantized) -> None:
    alone = any(row.alone is not None for row in found.rows)
    columns = [Column("row"), Column("block"), number("float"), number("int8"), number("least cosine")]
    table = Table([*columns, *([number("alone: cosine"), number("top-1"), number("shift")] if alone else [])])
    for row in found.rows:
        cells = [row.name, row.label, memory(row.float_bytes), memory(row.bytes) if row.in_int8 else "float"]
        cells.append(f"{row.cosine:.4f}")
        if row.alone is not None:
            top, shift, cosine = _agreement(row.alone)
            cells += [cosine, top, shift]
        elif alone:
            cells += ["", "", ""]
        table.rows.append(cells)
    table.total = ["total", "", memory(found.float_bytes), memory(found.bytes), "", *([""] * 3 if alone else [])]
    table.print(console)


def _agreement(found: Agreement) -> tuple[str, str, str]:
    """Agreement, shift and cosine as cells."""
    same = "–"
    if found.same is not None:
        whole = found.same == int(found.same)
        same = f"{count(int(found.same))} of {count(found.images)}" if whole else f"{found.share:.2%} of pixels"
    return same, "–" if found.shift is None else f"{found.shift:.4f}", f"{found.cosine:.4f}"


def _unchecked(judged: Judged | None) -> str:
    return "" if judged is None or judged.unchecked == "no file was written" else judged.unchecked
