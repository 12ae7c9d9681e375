"""Other tools' counters, run on the compiled module."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from archc.extras import require

if TYPE_CHECKING:
    from archc.reporting.comparison import Comparison
    from archc.reporting.model import Report


def count(counter: str, report: Report) -> Comparison:
    """Count the reported network with `fvcore` or `torch`.

    Raises:
        MissingExtraError: the tool is not installed.
    """
    return {"fvcore": _fvcore, "torch": _torch}[counter](report)


def meta_flops(report: Report) -> Mapping[str, int]:
    """FLOPs by operator, counted by torch's FlopCounterMode on a module built on the meta device."""
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
    for module, value in _runs(torch, report, "cpu"):  # fvcore's tracer needs real numbers
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer warns of shapes in Python, which are constants here
            analysis = fvcore.FlopCountAnalysis(module, value)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            for name, number in analysis.by_operator().items():
                counted[name] = counted.get(name, 0) + int(number)
    return with_fvcore(report, counted, _version("fvcore", "fvcore"))


def _version(module: str, extra: str) -> str:
    """The version without its build tag: `2.6.0`, not `2.6.0+cu124`."""
    return str(require(module, extra).__version__).partition("+")[0]


def _runs(torch: Any, report: Report, device: str) -> Iterator[tuple[Callable[..., Any], Any]]:
    """Every network to count, with an input for it: the whole graph with an image, and what runs on proposals.

    A detector's work on boxes depends on the image and has no multiply-accumulates.
    """
    from archc.backends import builder
    from archc.backends.protocol import raw
    from archc.cli.backends import require_torchvision

    graph = raw(report.graph)
    require_torchvision(graph)
    build = builder("torch").build
    yield build(graph, device=device).eval(), torch.zeros(1, *report.input, device=device)
    for call in report.graph.calls:
        heads = build(call.graph, device=device).eval()
        yield heads, torch.zeros(call.times, *call.graph.input.shape, device=device)
