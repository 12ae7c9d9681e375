"""A written file on the images of a calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from archc.exporting.export import Exported
from archc.ir.graph import Graph
from archc.ir.ops import Input
from archc.ir.state import Array
from archc.prediction.normalisation import as_pixels
from archc.runtimes import open_file
from archc.runtimes.protocol import filled


def run_file(file: Path, exported: Exported, graph: Graph, images: Array) -> dict[str, Array] | None:
    """What a file returns for images, by output name; None where it returns other things than the network does.

    Args:
        file: where it is at present.
        exported: what it holds.
        graph: the network that takes `images`, which are its normalised input.
        images: [images, channels, height, width].

    Raises:
        MissingExtraError: its runtime is not installed.
    """
    session = open_file(file)
    if not set(exported.graph.outputs) <= set(session.outputs):
        return None
    given = images
    if exported.graph.input.op == Input("uint8"):
        assert graph.preprocessing is not None
        given = as_pixels(graph.preprocessing, images)
    parts: list[dict[str, Array]] = []
    for batch, own in filled(given, exported.form.batch or 1):
        found = session.run(batch)
        parts.append({name: found[name][:own] for name in exported.graph.outputs})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
