"""A written file on the images of a calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from archc.exporting.export import Exported
from archc.ir.graph import Graph
from archc.ir.ops import Input
from archc.ir.state import Array
from archc.runtimes import open_file


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
    given = _pixels(graph, images) if exported.graph.input.op == Input("uint8") else images
    size = exported.form.batch or 1
    parts: list[dict[str, Array]] = []
    for start in range(0, len(given), size):
        group = given[start : start + size]
        # A file of a fixed batch takes no less: the last image is repeated.
        filled = np.concatenate([group, np.repeat(group[-1:], size - len(group), axis=0)])
        found = session.run(filled)
        parts.append({name: found[name][: len(group)] for name in exported.graph.outputs})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _pixels(graph: Graph, images: Array) -> Array:
    """Normalised images as the pixels that they were."""
    given = graph.preprocessing
    assert given is not None
    mean, std = (np.reshape(value, (-1, 1, 1)) for value in (given.mean, given.std))
    found = (images * std + mean) * 255
    ordered = found[:, ::-1] if given.channel_order == "bgr" else found
    pixels: Array = np.clip(np.round(ordered), 0, 255).astype(np.uint8)
    return pixels
