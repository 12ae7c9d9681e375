"""The network takes pixels, and normalises them itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from archc.ir.graph import Graph, Node, Region, Subgraph
from archc.ir.ops import Conv, Input, Normalize
from archc.ir.state import State
from archc.transforms.rewrite import Result, Rewriter, rewrite

STAGE = "pixels"
"""The stage of the new first row."""


def preprocess(graph: Graph, state: State | None) -> Result:
    """Let the network take RGB pixels, `uint8`, and do itself what `input.mean`, `std` and `channel_order` say.

    A new first row subtracts the mean. Everything else, the scaling to [0, 1], the deviations and the order of the
    channels, goes into the weights of the first convolution, if it alone reads the image and has no groups. That is
    exact, with zero padding too. Resizing and cropping stay the caller's. What takes pixels already stays as it is.

    Raises:
        ValueError: the graph does not say how an image becomes its input.
    """
    given = graph.preprocessing
    if given is None:
        raise ValueError(f"`{graph.name}` does not say how an image becomes its input")
    if graph.input.op == Input("uint8"):
        return graph, state
    channels = graph.input.shape[0]
    mean, std = (_per_channel(value, channels) for value in (given.mean, given.std))
    op = Normalize(tuple(255 * m for m in mean), tuple(1 / (255 * s) for s in std), given.channel_order == "bgr")
    first = _row(graph, op)
    old, new = graph.input.name, first.name
    regions = [replace(r, inputs=tuple([new if name == old else name for name in r.inputs])) for r in graph.regions]
    stages = {first.stage: "Pixels", **graph.stages}
    graph = replace(
        graph,
        input=graph.input._replace(op=Input("uint8")),
        regions=(first, *regions),
        stages=stages,
        outputs=_renamed(graph.outputs, old, new),
        levels=_renamed(graph.levels, old, new),
    )
    return rewrite(graph, state, lambda net: _fold(net, new) if net.graph.input.op == Input("uint8") else None)


def _per_channel(value: float | Sequence[float], channels: int) -> tuple[float, ...]:
    return (float(value),) * channels if isinstance(value, int | float) else tuple(value)


def _renamed(names: Mapping[str, str], old: str, new: str) -> dict[str, str]:
    return {key: new if name == old else name for key, name in names.items()}


def _row(graph: Graph, op: Normalize) -> Region:
    stage = STAGE
    while stage in graph.stages:
        stage += "_"
    shape = graph.input.shape
    placeholder, node = Node("@0", Input(), (), shape), Node("", op, ("@0",), shape)
    return Region(stage, 0, "Normalize", Subgraph((placeholder,), (node,), {}, node), (graph.input.name,))


def _fold(net: Rewriter, name: str) -> None:
    """Put the scale and the order of the channels into the first convolution's kernel."""
    op, reader = net[name].op, net.only_reader(name)
    assert isinstance(op, Normalize)
    if reader is None or not isinstance(reader.op, Conv) or reader.op.groups > 1 or len(net.sharing(reader.name)) > 1:
        return
    mean = op.mean[::-1] if op.reverse else op.mean
    net.replace(name, Normalize(mean, (1.0,) * len(mean)))
    if net.state is not None:
        import numpy as np

        kernel = net.weights(reader.name)["weight"]
        scaled = kernel.astype(np.float64) * np.reshape(op.scale, (-1, 1, 1))
        net.set_weights(reader.name, {"weight": (scaled[:, ::-1] if op.reverse else scaled).astype(kernel.dtype)})
