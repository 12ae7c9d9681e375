"""Other tools' counters, run on the compiled module."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from archc.ir.graph import Graph
    from archc.reporting.comparison import Comparison
    from archc.reporting.model import Report


def count(counter: str, report: Report) -> Comparison:
    """Count the reported network with `fvcore` or `torch`."""
    return {"fvcore": _fvcore, "torch": _torch}[counter](report)


def require(module: str, extra: str) -> Any:
    """Import a module that comes with one of archc's extras.

    Raises:
        click.UsageError: it is not installed; the message says what to install.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fvcore trips over torch's deprecations while it is imported
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise click.UsageError(f"this needs {package}, which is not installed: pip install 'archc[{extra}]'") from None


def require_torchvision(graph: Graph) -> None:
    """Import torchvision if the module of this graph has classes of torchvision's own in it.

    Raises:
        click.UsageError: it is not installed.
    """
    from archc.ir.ops import BatchNorm

    if graph.calls or any(isinstance(node.op, BatchNorm) and node.op.frozen for node in graph.nodes):
        require("torchvision", "detection")


def meta_flops(report: Report) -> Mapping[str, int]:
    """What torch's FlopCounterMode counts, by operator, on a module built on the meta device."""
    torch = require("torch", "torch")
    flop_counter = importlib.import_module("torch.utils.flop_counter")
    with flop_counter.FlopCounterMode(display=False) as mode, torch.no_grad():
        for module, value in _runs(torch, report, "meta"):
            module(value)
    by_operator: Mapping[Any, int] = mode.get_flop_counts()["Global"]
    return {str(operator).partition(".")[2]: flops for operator, flops in by_operator.items()}


def _torch(report: Report) -> Comparison:
    from archc.reporting.comparison import with_torch

    return with_torch(report, meta_flops(report), _version("torch", "torch"))


def _fvcore(report: Report) -> Comparison:
    from archc.reporting.comparison import with_fvcore

    torch, fvcore = require("torch", "torch"), require("fvcore.nn", "fvcore")
    counted: dict[str, int] = {}
    for module, value in _runs(torch, report, "cpu"):  # fvcore's tracer cannot do without numbers
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's remarks on shapes in Python, which are constants here
            analysis = fvcore.FlopCountAnalysis(module, value)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            for name, number in analysis.by_operator().items():
                counted[name] = counted.get(name, 0) + int(number)
    return with_fvcore(report, counted, _version("fvcore", "fvcore"))


def _version(module: str, extra: str) -> str:
    """`2.6.0`, without what the build was made for."""
    return str(require(module, extra).__version__).partition("+")[0]


def _runs(torch: Any, report: Report, device: str) -> Iterator[tuple[Callable[..., Any], Any]]:
    """Every compiled module with what it runs on: the network on an image; a detector's heads, too, on their own.

    What a detector does between them, with boxes, depends on the picture and has no multiply-accumulates.
    """
    import archc

    graph = report.graph
    require_torchvision(graph)
    model = archc.build(graph, device=device).eval()
    yield model.get_submodule(graph.backbone), torch.zeros(1, *report.input, device=device)
    for call in graph.calls:
        yield model.get_submodule(call.name), torch.zeros(call.times, *call.graph.input.shape, device=device)
