"""Images as a network's input, in NumPy: for calibration, and for checks of exported files."""

from __future__ import annotations

import numpy as np

from archc.ir.graph import Graph
from archc.ir.ops import Image, Input
from archc.ir.state import Array
from archc.language.settings import Input as Preprocessing
from archc.prediction.images import Preparation
from archc.prediction.sources import Images, collect


def prepared(graph: Graph, images: Images) -> Array:
    """Images as the spec's `input` says, resized and cropped to the graph's size: [N, channels, height, width].

    They are pixels, `uint8` in RGB, where the graph takes those, and otherwise normalised 32-bit floats.

    Raises:
        PredictionError: images that stand for nothing.
        ImageError: one cannot be used.
    """
    given = graph.preprocessing
    assert given is not None
    shape = graph.input.shape
    assert isinstance(shape, Image)
    pixels = graph.input.op == Input("uint8")
    if pixels:
        given = of_pixels(given)
    given = given.model_copy(update={"size": (shape.height, shape.width)})
    preparation = Preparation(given)
    found = np.stack([preparation(source).numpy() for source in collect(images)])
    return np.round(found * 255).astype(np.uint8) if pixels else found


def of_pixels(given: Preprocessing) -> Preprocessing:
    """The preprocessing for a network that normalises pixels itself: the size remains, and values are 0 to 1."""
    return Preprocessing.model_validate({**given.model_dump(), "mean": 0.0, "std": 1.0, "channel_order": "rgb"})
