"""What `archc export` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archc.reporting.console import line
from archc.reporting.numbers import count, memory

if TYPE_CHECKING:
    from rich.console import Console

    from archc.exporting.export import Exported
    from archc.ir.graph import Graph


def print_exported(console: Console, written: Exported) -> None:
    """The file, its input and outputs, and how far it is from the network."""
    form, graph = written.form, written.graph
    console.print(
        line("wrote ", (str(written.path), "bold"), f": {memory(written.size)}, {written.target}, {form.precision}")
    )
    batch = "any batch" if form.batch is None else f"batch {form.batch}"
    console.print(line(("input    ", "dim"), f"image: {_input(graph, form.any_size)}, {batch}"))
    console.print(
        line(("outputs  ", "dim"), ", ".join(graph.outputs if not form.boxes else ("boxes", "labels", "scores")))
    )
    console.print(line(("checked  ", "dim"), _checked(written)))


def _input(graph: Graph, any_size: bool) -> str:
    channels, *sides = graph.input.shape
    size = "any size" if any_size else "×".join(map(str, sides))
    numbers = "RGB pixels, uint8" if getattr(graph.input.op, "dtype", "") == "uint8" else "normalised, float32"
    return f"{channels} channels, {size}, {numbers}"


def _checked(written: Exported) -> str:
    found = written.checked
    if found is None:
        return f"no: {written.unchecked}"
    on = "random numbers" + (f" and {count(found.images)} image{'s' * (found.images != 1)}" if found.images else "")
    if found.boxes is not None:
        total, matched, tied, apart = found.boxes
        ties = f" ({tied} more have the same score as others)" if tied else ""
        return f"{found.runtime} finds {matched} of torch's {total} boxes{ties}, scores within {apart:.1e}, on {on}"
    return f"{found.runtime} differs from torch by at most {found.worst:.1e} of the largest output, on {on}"
