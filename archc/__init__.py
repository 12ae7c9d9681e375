"""archc: a declarative architecture-config compiler for efficient vision networks.

    import archc
    spec = archc.load("mnv3_small", ["width_mult=0.75"])
    report = archc.report(spec)         # exact parameters and MACs, without torch
    model = archc.build(spec)           # an ordinary torch.nn.Module

Importing archc imports no torch, and almost nothing else: names are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archc.api import (
        bench,
        build,
        check,
        compile,
        copy_weights,
        diff,
        export,
        load,
        load_weights,
        lower,
        predict,
        quantize,
        report,
        save_weights,
        specs,
        sweep,
    )
    from archc.blocks import REGISTRY, Block, Net
    from archc.document.diagnostics import Diagnostic, SpecError, SpecWarning
    from archc.ir.graph import Graph
    from archc.language.schema import Spec
    from archc.prediction.errors import PredictionError
    from archc.reporting.model import Report
    from archc.weights.carrying.report import LoadReport
    from archc.weights.error import WeightsError, WeightsWarning

__version__ = "0.1.0"

_HOMES = {
    "archc.api": (
        "bench",
        "build",
        "check",
        "compile",
        "copy_weights",
        "diff",
        "export",
        "load",
        "load_weights",
        "lower",
        "predict",
        "quantize",
        "report",
        "save_weights",
        "specs",
        "sweep",
        "Spec",
    ),
    "archc.blocks": ("REGISTRY", "Block", "Net"),
    "archc.ir.graph": ("Graph",),
    "archc.reporting.model": ("Report",),
    "archc.document.diagnostics": ("Diagnostic", "SpecError", "SpecWarning"),
    "archc.prediction.errors": ("PredictionError",),
    "archc.weights.carrying.report": ("LoadReport",),
    "archc.weights.error": ("WeightsError", "WeightsWarning"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "REGISTRY",
    "Block",
    "Diagnostic",
    "Graph",
    "LoadReport",
    "Net",
    "PredictionError",
    "Report",
    "Spec",
    "SpecError",
    "SpecWarning",
    "WeightsError",
    "WeightsWarning",
    "bench",
    "build",
    "check",
    "compile",
    "copy_weights",
    "diff",
    "export",
    "load",
    "load_weights",
    "lower",
    "predict",
    "quantize",
    "report",
    "save_weights",
    "specs",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'archc' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
