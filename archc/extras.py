"""Optional libraries: they are imported where they are needed, and a missing one ends in a message, not a traceback."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_EXTRAS = {
    "torch": "torch",
    "safetensors": "torch",
    "numpy": "torch",
    "torchvision": "detection",
    "PIL": "predict",
    "keras": "keras",
    "fvcore": "fvcore",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "ai_edge_litert": "litert",
    "flatbuffers": "litert",
    "openvino": "openvino",
    "executorch": "executorch",
    "coremltools": "coreml",
}
"""The extra that installs each optional library, by the name it is imported under."""


_DISTRIBUTIONS = {"PIL": "Pillow", "ai_edge_litert": "ai-edge-litert"}
"""The name to install a library by, where it is not the one it is imported under."""


class MissingExtraError(ImportError):
    """A library that one of archc's extras installs is missing; the message says what to install."""


_SENDERS = {"openvino": "openvino_telemetry"}
"""Libraries that report over the network that they are imported, and the package that they do it with."""

_TALKATIVE = ("coremltools", "torch.utils._pytree")
"""Loggers that warn of libraries that archc does not use, and of parts that only macOS has, while they are imported."""


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Let the talkative libraries log errors only."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def require(module: str, extra: str) -> Any:
    """Import a module that comes with one of archc's extras. It reports nothing to anybody.

    Raises:
        MissingExtraError: it is not installed.
        ImportError: it is installed, but cannot be imported.
    """
    package = module.partition(".")[0]
    try:
        with warnings.catch_warnings(), quiet_logs(), _hidden(_SENDERS.get(package)):
            warnings.simplefilter("ignore")  # fvcore trips over torch's deprecations while it is imported
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if _package(error) != package:
            raise
        raise MissingExtraError(_message(package, extra), name=package) from None


@contextmanager
def _hidden(package: str | None) -> Iterator[None]:
    """Let a package seem not to be installed."""
    if package is None:
        yield
        return
    known = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]  # Python's own way to block an import
    try:
        yield
    finally:
        del sys.modules[package]
        if known is not None:
            sys.modules[package] = known


def missing(error: ImportError) -> str:
    """What to say about an import that failed because an extra is not installed; empty for any other failure."""
    if isinstance(error, MissingExtraError):
        return str(error)
    package = _package(error)
    if isinstance(error, ModuleNotFoundError) and package in _EXTRAS:
        return _message(package, _EXTRAS[package])
    return ""


def _package(error: ImportError) -> str:
    return (error.name or "").partition(".")[0]


def _message(package: str, extra: str) -> str:
    return f"this needs {_DISTRIBUTIONS.get(package, package)}, which is not installed: pip install 'archc[{extra}]'"
