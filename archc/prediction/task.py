"""The task of a network, from its graph."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from archc.document.diagnostics import Diagnostic
from archc.ir.graph import Graph
from archc.ir.ops import Conv, Dropout, Flatten, GlobalPool, Image, Linear, Tokens, Vector, show
from archc.language.schema import Spec
from archc.prediction.errors import PredictionError

Kind = Literal["classes", "mask", "boxes"]

MAIN: Final = "out"
"""Torchvision's name for the main output of a network with auxiliary ones."""


class Task(NamedTuple):
    """What is predicted: the classes of an image (`classes`), of its pixels (`mask`), or of objects (`boxes`).

    `classes` is how many there are, and `output` the key of the scores where the network returns a mapping.
    """

    kind: Kind
    classes: int
    output: str | None = None


def task_of(graph: Graph, spec: Spec | None = None) -> Task:
    """The task that a network was made for: a detector finds boxes, a vector scores classes, an image is a mask.

    Of several outputs, `out` is used, or the first where none has that name. A vector holds scores if it has
    `num_classes` numbers, or comes straight from a linear layer. An image is a mask if it has `num_classes` channels,
    or the input's own size. Anything else is features.

    `spec` only gives the messages their places.

    Raises:
        PredictionError: the output is features and not scores; a mask has fewer than two classes; an override
            would crop the images of a mask.
    """
    if graph.detector is not None:
        return Task("boxes", graph.num_classes)
    key = MAIN if MAIN in graph.outputs else next(iter(graph.outputs))
    node = graph.outputs[key]
    shape = graph.shapes()[node]
    output = None if graph.single else key
    if isinstance(shape, Vector) and (shape.channels == graph.num_classes or _are_scores(graph, node)):
        return Task("classes", shape.channels, output)
    if not isinstance(shape, Image) or not _is_mask(graph, shape):
        raise _features(graph, node, spec)
    if shape.channels < 2:
        message = f"`{graph.name}` returns one channel, but a mask needs the scores of two classes or more"
        raise PredictionError(Diagnostic("not-a-classifier", message, spec.span("num_classes") if spec else None))
    crop = spec.span("input", "crop") if spec else None
    # A crop that the file states may be that of the classifier which it inherits from; an override means this network.
    stated = graph.preprocessing.crop if graph.preprocessing else 1
    if stated != 1 and crop is not None and crop.source.kind != "file":
        message = f"a mask covers the whole image, so `input.crop` cannot be {stated:g}"
        raise PredictionError(Diagnostic("mask-crop", message, crop, help="leave it out"))
    return Task("mask", shape.channels, output)


def _are_scores(graph: Graph, name: str) -> bool:
    """Whether a vector comes straight from a linear layer or a convolution, with no norm or activation after it."""
    nodes = {node.name: node for node in graph.nodes}
    node = nodes[name]
    while isinstance(node.op, Dropout | Flatten | GlobalPool):
        node = nodes[node.inputs[0]]
    return isinstance(node.op, Linear | Conv)


def _is_mask(graph: Graph, shape: Image) -> bool:
    if shape.height == shape.width == 1:  # one position: classes that were not flattened, or pooled features
        return False
    size = graph.input.shape
    return shape.channels == graph.num_classes or (
        isinstance(size, Image) and (shape.height, shape.width) == (size.height, size.width)
    )


def _features(graph: Graph, node: str, spec: Spec | None) -> PredictionError:
    shape = graph.shapes()[node]
    what = f"{shape.channels:,} numbers" if isinstance(shape, Vector) else show(shape)
    message = f"`{graph.name}` returns features: {what} at `{node}`, but `num_classes` is {graph.num_classes:,}"
    if not isinstance(shape, Tokens) and shape.channels == graph.num_classes:
        message = f"`{graph.name}` returns {what} at `{node}`: neither a vector of classes, nor a mask"
    names = ", ".join(f"`{name}`" for name in graph.outputs)
    several = f"of its outputs ({names}), `{MAIN}` is used, or the first"
    notes = (several,) if len(graph.outputs) > 1 else ()
    stated = spec is not None and spec.outputs is not None
    help = "`outputs` chooses what is returned; leave it out to get the last stage" if stated else ""
    span = spec.span("outputs") if spec is not None and stated else None
    return PredictionError(Diagnostic("not-a-classifier", message, span, notes=notes, help=help))
