"""The backends' libraries, as commands need them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from archc.extras import require

if TYPE_CHECKING:
    from archc.ir.graph import Graph


def keras() -> Any:
    """The Keras backend.

    Raises:
        MissingExtraError: Keras, or the library that it computes with, is not installed.
    """
    return importlib.import_module("archc.backends.keras")


def require_backend(name: str, graph: Graph) -> None:
    """Import a backend's library, to build this network with.

    Raises:
        SpecError: the backend cannot run the network.
        MissingExtraError: its library is not installed.
    """
    from archc.backends import get

    if name == "torch":
        require("torch", "torch")
        require_torchvision(graph)
    get(name).require(graph)


def require_torchvision(graph: Graph) -> None:
    """Import torchvision if the module of this graph contains classes of torchvision.

    Raises:
        MissingExtraError: it is not installed.
    """
    from archc.ir.ops import BatchNorm

    frozen = any(isinstance(node.op, BatchNorm) and node.op.frozen for node in graph.nodes)
    if frozen or graph.detector is not None:
        require("torchvision", "detection")


def require_safetensors() -> None:
    """Import what writes safetensors files.

    Raises:
        MissingExtraError: torch, NumPy or safetensors is not installed.
    """
    for module in ("torch", "numpy", "safetensors.numpy"):
        require(module, "torch")
