"""The output that an SSD's raw file has beside its predictions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from archc.analysis.anchors import anchors
from archc.backends.protocol import ANCHORS
from archc.document.diagnostics import fail
from archc.ir.graph import Graph
from archc.ir.state import Array
from archc.language.detector import Ssd


def default_boxes(graph: Graph) -> Mapping[str, Array]:
    """An SSD's default boxes, by the output that returns them (see `ANCHORS`); empty for other networks.

    Raises:
        SpecError: `unsupported-form`: another output has that name.
    """
    if not isinstance(graph.detector, Ssd):
        return {}
    if ANCHORS in graph.outputs:
        raise fail("unsupported-form", f"`{ANCHORS}` is the default boxes' name, so no output can have it")
    return {ANCHORS: np.concatenate(anchors(graph))}
