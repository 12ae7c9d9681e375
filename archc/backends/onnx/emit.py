"""From a graph and its weights to the nodes of an ONNX model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from archc.backends.onnx.halves import half
from archc.backends.onnx.quantized import Quantizer
from archc.backends.onnx.rules import RULES
from archc.backends.onnx.step import Step
from archc.backends.onnx.writer import Dim, Writer
from archc.backends.protocol import INPUT, Form
from archc.ir import ops
from archc.ir.graph import Call, Graph, Node, Region
from archc.ir.state import State


class Output(NamedTuple):
    """A value that the file returns: its name in the writer, its type as NumPy calls it, and its shape."""

    value: str
    dtype: str
    shape: Sequence[Dim]


class Emission:
    """A network as nodes of a model that is not finished yet.

    More nodes may follow: `writer.add` takes the values of `outputs`, and `outputs` may be set anew before `finish`.
    """

    input: str = INPUT
    """The value of the image."""

    def __init__(self, graph: Graph, state: State, form: Form) -> None:
        self.graph, self.state, self.form = graph, state, form
        self.writer = Writer()
        self.writer.reserve(INPUT, *graph.outputs, *(node.name for node in graph.nodes))
        self._dtype = np.dtype(np.float16 if form.precision == "f16" else np.float32)
        self._shapes = dict(graph.shapes())
        self._quantizer = Quantizer(self.writer, graph, form.quantization) if form.quantization else None
        self._values = {graph.input.name: self._image()}
        self._regions(graph.regions)
        self.outputs = {key: self._output(key, name) for key, name in graph.outputs.items()}
        """What the file returns, by name: at first, the network's outputs as 32-bit floats."""

    def finish(self) -> bytes:
        """The file."""
        source = self.graph.input
        assert isinstance(source.op, ops.Input)
        assert isinstance(source.shape, ops.Image)
        channels, height, width = source.shape
        size = ("height", "width") if self.form.any_size else (height, width)
        image = (INPUT, source.op.dtype, (self.form.batch or "batch", channels, *size))
        self.writer.name({key: output.value for key, output in self.outputs.items()}, keep=INPUT)
        outputs = [(key, dtype, shape) for key, (_, dtype, shape) in self.outputs.items()]
        return self.writer.model(self.graph.name, image, outputs, self.form.metadata)

    def real(self, name: str) -> str:
        """A node's value, as 32-bit floats."""
        value = self._values[name]
        return value if self._dtype == np.float32 else self.writer.cast(value, np.float32)

    def call(self, call: Call, value: str) -> dict[str, str]:
        """Write a network that runs on a value of 32-bit floats; what it returns, by name, as 32-bit floats."""
        source, name = call.graph.input, f"{call.name}.{call.graph.input.name}"
        self._shapes[name] = source.shape
        self._values[name] = value if self._dtype == np.float32 else self.writer.cast(value, self._dtype)
        regions = [_inside(call.name, region) for region in call.graph.regions]
        self._shapes.update({node.name: node.shape for region in regions for node in region.nodes()})
        self._regions(regions)
        return {key: self.real(f"{call.name}.{node}") for key, node in call.graph.outputs.items()}

    def _regions(self, regions: Iterable[Region]) -> None:
        for region in regions:
            for local, node in zip(region.subgraph.nodes, region.nodes(), strict=True):
                self._values[node.name] = self._write(node, region.owner(local.name))
        self.writer.scope = ""

    def _image(self) -> str:
        """The input as numbers to compute with. Pixels are normalised as 32-bit floats."""
        self.writer.scope = INPUT
        if self._pixels:
            return self.writer.cast(INPUT, np.float32)
        image = INPUT if self._dtype == np.float32 else self.writer.cast(INPUT, self._dtype)
        return self._quantizer.held(self.graph.input.name, image) if self._quantizer else image

    @property
    def _pixels(self) -> bool:
        return self.graph.input.op == ops.Input("uint8")

    def _write(self, node: Node, owner: str) -> str:
        """Write an operation; the value of its result."""
        self.writer.scope = node.name
        normalising = self._pixels and node.inputs == (self.graph.input.name,)
        step = Step(
            self.writer,
            node,
            self._own_name(node),
            [self._values[name] for name in node.inputs],
            tuple([self._shapes[name] for name in node.inputs]),
            {weight.name: self.state[f"{owner}.{weight.name}"] for weight in node.weights},
            owner,
            self.form.any_size,
            np.dtype(np.float32) if normalising else self._dtype,
        )
        if self._dtype == np.float16:
            step.parameter = half
        if self._quantizer is not None:
            return self._quantizer.write(step)
        value = RULES[type(node.op)](step, node.op)
        return self.writer.cast(value, self._dtype) if step.dtype != self._dtype else value

    def _own_name(self, node: Node) -> str:
        """An operation's value has its name, unless the network returns something else by that name."""
        taken = self.graph.outputs.get(node.name, node.name) != node.name
        return self.writer.fresh("value") if taken else node.name

    def _output(self, key: str, name: str) -> Output:
        self.writer.scope = key
        value = self.real(name)
        self.writer.scope = ""
        return Output(value, "float32", self._dims(key, name))

    def _dims(self, key: str, name: str) -> list[Dim]:
        """The shape of an output, with names for what is left open."""
        shape, batch = self._shapes[name], self.form.batch
        first: Dim = batch or "batch"
        if isinstance(shape, ops.Tokens):
            sequences: Dim = batch * shape.positions if batch else f"{key}_sequences"
            return [sequences, f"{key}_length" if self.form.any_size else shape.length, shape.channels]
        if self.form.any_size and isinstance(shape, ops.Image):
            return [first, shape.channels, f"{key}_height", f"{key}_width"]
        return [first, *shape]


def _inside(name: str, region: Region) -> Region:
    """A row of a network that is called `name`, by the names that it has in the whole."""
    return replace(
        region,
        stage=f"{name}.{region.stage}",
        inputs=tuple([f"{name}.{value}" for value in region.inputs]),
        shares=region.shares and f"{name}.{region.shares}",
    )


def network(graph: Graph, state: State, form: Form) -> Emission:
    """The nodes of a graph that is supported, with a state that fits."""
    return Emission(graph, state, form)
