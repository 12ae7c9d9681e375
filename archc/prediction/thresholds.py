"""The score below which boxes are left out: the detector's own threshold, and the one that was asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from archc.ir.graph import Graph
from archc.language.detector import FasterRcnn, Ssd

DEFAULT_THRESHOLD: Final = 0.5
"""Default `--threshold`. Detectors return hundreds of boxes, and most of those that score less are wrong."""


class OwnThreshold(NamedTuple):
    """The score below which a detector itself drops boxes, and the spec's key for it."""

    key: str
    score: float


def own_threshold(detector: FasterRcnn | Ssd) -> OwnThreshold:
    """The detector's own threshold."""
    if isinstance(detector, Ssd):
        return OwnThreshold("detector.score_thresh", detector.score_thresh)
    return OwnThreshold("detector.box.score_thresh", detector.box.score_thresh)


def default_threshold(detector: FasterRcnn | Ssd | None) -> float:
    """The threshold where none is asked for: the default, or the detector's own if that is higher."""
    return max(DEFAULT_THRESHOLD, own_threshold(detector).score) if detector else DEFAULT_THRESHOLD


def keeping(graph: Graph, threshold: float | None) -> Graph:
    """The graph, with a detector's own threshold lowered to the one that was asked for."""
    detector = graph.detector
    if threshold is None or detector is None or threshold >= own_threshold(detector).score:
        return graph
    lowered: FasterRcnn | Ssd
    if isinstance(detector, Ssd):
        lowered = detector.model_copy(update={"score_thresh": threshold})
    else:
        lowered = detector.model_copy(update={"box": detector.box.model_copy(update={"score_thresh": threshold})})
    return replace(graph, detector=lowered)
