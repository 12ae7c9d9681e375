"""The report of a network in a file: the network that it states, or the nodes of another program's file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from archc.analysis.onnx_file import FileCost, cost_of, metadata_of
from archc.document.diagnostics import SpecError, fail
from archc.ir.graph import Graph
from archc.ir.ops import show
from archc.reporting import numbers
from archc.reporting.console import line
from archc.reporting.model import CONVENTION
from archc.reporting.tables import Column, Table, facts, number
from archc.runtimes import open_file
from archc.transforms.provenance import stated


def read(path: Path, size: tuple[int, int] | None = None) -> Graph | FileCost:
    """The network that an exported file states, or what another program's `.onnx` file costs.

    Args:
        path: a file that `archc.export` wrote, or any `.onnx` file.
        size: height and width of the image, for a file of another program that leaves them open.

    Raises:
        SpecError: `onnx-file`, or what the file states is damaged.
        MissingExtraError: the library that reads such files is not installed.
        OSError: the file cannot be read.
    """
    onnx = path.suffix == ".onnx"
    try:
        graph = stated(metadata_of(path) if onnx else open_file(path).metadata)
    except SpecError:
        raise
    except ValueError as error:
        raise fail("exported-file", str(error)) from None
    if graph is None and not onnx:
        message = f"`{path}` does not say which network it holds; archc prices such a file only as `.onnx`"
        raise fail("exported-file", message)
    if graph is not None and size is not None:
        message = f"`{path}` states its network, which is priced at its own size"
        raise fail("exported-file", message, help="leave the size out, or price the spec with `input.size`")
    return cost_of(path, size) if graph is None else graph


def to_dict(cost: FileCost) -> dict[str, Any]:
    """JSON-ready; the keys are those of a network's report."""
    return {
        "name": cost.name,
        "input": list(cost.input),
        "params": cost.params,
        "macs": cost.macs,
        "convention": CONVENTION,
        "outputs": {name: {"shape": list(shape)} for name, shape in cost.outputs.items()},
        "layers": [layer.to_dict() for layer in cost.layers],
    }


def print_file(console: Console, cost: FileCost, *, layers: bool = False) -> None:
    """Print what a file's network costs by operation; with `layers`, one line for each node that costs anything."""
    console.print(line((cost.name, "bold"), f"  {show(cost.input)}"))
    console.print()
    (_layers(cost) if layers else _operations(cost)).print(console)
    console.print()
    found = [("output", f"{name}: {show(shape)}") for name, shape in cost.outputs.items()]
    facts(console, [*found, ("MACs by", CONVENTION)])


_COSTS = (number("params"), number("%", "dim"), number("MACs"), number("%", "dim"))


def _layers(cost: FileCost) -> Table:
    table = Table((Column("node"), Column("op"), Column("output"), *_COSTS))
    for layer in cost.layers:
        table.rows.append((layer.name, layer.op, show(layer.output), *_costs(layer.params, layer.macs, cost)))
    table.total = ("total", "", "", *_costs(cost.params, cost.macs, cost))
    return table


def _operations(cost: FileCost) -> Table:
    table = Table((Column("op", style="bold"), number("nodes"), *_COSTS))
    nodes, params, macs = Counter[str](), Counter[str](), Counter[str]()
    for layer in cost.layers:
        nodes[layer.op] += 1
        params[layer.op] += layer.params
        macs[layer.op] += layer.macs
    for op in nodes:
        table.rows.append((op, numbers.count(nodes[op]), *_costs(params[op], macs[op], cost)))
    table.total = ("total", numbers.count(nodes.total()), *_costs(cost.params, cost.macs, cost))
    return table


def _costs(params: int, macs: int, of: FileCost) -> tuple[str, str, str, str]:
    return numbers.count(params), numbers.share(params, of.params), numbers.count(macs), numbers.share(macs, of.macs)
