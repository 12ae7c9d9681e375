"""From a graph and its weights to the bytes of a `.tflite` file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from archc.backends.litert import integers
from archc.backends.litert.flat import Flat, Tensor
from archc.backends.litert.operators import ACTIVATIONS
from archc.backends.litert.rules import FUSING, RULES
from archc.backends.litert.step import Step, layout
from archc.backends.litert.values import Values
from archc.backends.protocol import INPUT, Form
from archc.ir import ops
from archc.ir.graph import Graph, Node
from archc.ir.quantization import Int8, Quantization, int8_operations, numbers
from archc.ir.state import Array, State


def emit(graph: Graph, state: State, form: Form, constants: Mapping[str, Array] | None = None) -> memoryview:
    """The file of a graph that is supported, with a state that fits; it returns `constants` too, as they are."""
    return _Writer(graph, state, form).write(constants or {})


class _Writer:
    def __init__(self, graph: Graph, state: State, form: Form) -> None:
        self.graph, self.state, self.form = graph, state, form
        self.flat = Flat(form.batch, form.any_size)
        self.quantization = form.quantization or Quantization()
        self.values = Values(self.flat, self.quantization.values)
        self.shapes = graph.shapes()
        self.integers = int8_operations(graph, self.quantization)
        self.returned = {*graph.outputs.values(), *graph.levels.values()}
        self.non_negative: set[str] = set()

    def write(self, constants: Mapping[str, Array]) -> memoryview:
        source = self.graph.input
        assert isinstance(source.op, ops.Input)
        self._check_quantization(source)
        image = self.flat.tensor(INPUT, layout(source.shape), source.op.dtype)
        self.values.put(source.name, image)
        done: set[str] = set()
        for region in self.graph.regions:
            for local, node in zip(region.subgraph.nodes, region.nodes(), strict=True):
                if node.name not in done:
                    done.update(self._node(node, region.owner(local.name)))
        returned = {**self._outputs(image), **{name: self.flat.constant(name, v) for name, v in constants.items()}}
        return self.flat.finish(self.graph.name, (INPUT, image), returned, self.form.metadata)

    def _check_quantization(self, source: Node) -> None:
        """Check that a quantisation names values of this graph, and none that is no float.

        Raises:
            ValueError: it does not.
        """
        known = {node.name for node in self.graph.nodes}
        named = [*self.quantization.values, *sorted(self.quantization.floats)]
        if unknown := [name for name in named if name not in known]:
            raise ValueError(f"the quantisation names `{unknown[0]}`, which is no value of `{self.graph.name}`")
        if source.op == ops.Input("uint8") and source.name in self.quantization.values:
            raise ValueError(f"the quantisation names the pixels, `{source.name}`, which are integers already")

    def _node(self, node: Node, owner: str) -> list[str]:
        """Write a node; the names of the nodes that are then done."""
        if node.name in self.integers:
            return self._integers(self.integers[node.name], owner)
        follower = self._follower(node)
        result = node if follower is None else follower
        step = self._step(node, owner, [self.values.real(name) for name in numbers(node)])
        if follower is not None:
            assert isinstance(follower.op, ops.Activation)
            step.fused = ACTIVATIONS[follower.op.function]
        self.values.put(result.name, RULES[type(node.op)](step, node.op))
        return self._done(node, result)

    def _integers(self, operation: Int8, owner: str) -> list[str]:
        """The same for an operation that computes in int8."""
        node, activation, _ = operation
        result = node if activation is None else activation
        step = self._step(node, owner, [self.values.int8(name) for name in numbers(node)])
        step.scale, step.scales = self.quantization.values[result.name].scale, self.quantization.weights
        if activation is not None:
            assert isinstance(activation.op, ops.Activation)
            step.activation = activation.op.function
        if integers.supports(step, node.op):
            self.values.put(result.name, integers.RULES[type(node.op)](step, node.op))
        else:
            step.inputs = [self.values.real(name) for name in numbers(node)]
            self.values.put(result.name, RULES[type(node.op)](step, node.op))
        return self._done(node, result)

    def _done(self, node: Node, result: Node) -> list[str]:
        """Note what is known of a result; the names of the nodes that are done."""
        if _never_negative(result.op) or (_keeps_sign(result.op) and self.non_negative.issuperset(result.inputs)):
            self.non_negative.add(result.name)
        return [node.name, result.name]

    def _step(self, node: Node, owner: str, inputs: list[Tensor]) -> Step:
        return Step(
            self.flat,
            node,
            inputs,
            tuple([self.shapes[name] for name in node.inputs]),
            {weight.name: self.state[f"{owner}.{weight.name}"] for weight in node.weights},
            owner,
            self.values.some(node.inputs[1]) if len(numbers(node)) < len(node.inputs) else None,
            half=self.form.precision == "f16",
            non_negative=frozenset(self.non_negative) if isinstance(node.op, ops.Pool) else frozenset(),
        )

    def _follower(self, node: Node) -> Node | None:
        """The activation that the node's last operator applies itself: one that alone reads the node."""
        readers = self.graph.readers[node.name]
        if not isinstance(node.op, FUSING) or len(readers) != 1 or node.name in self.returned:
            return None
        (reader,) = readers
        fits = isinstance(reader.op, ops.Activation) and reader.op.function in ACTIVATIONS
        return reader if fits and node.name not in self.quantization.values else None

    def _outputs(self, image: Tensor) -> dict[str, Tensor]:
        """The tensors that the network returns. Each is a tensor of its own, by the output's name."""
        found: dict[str, Tensor] = {}
        used = {image.number}
        for name, value in self.graph.outputs.items():
            tensor = self.values.real(value)
            if tensor.number in used:
                copy = self.flat.tensor(name, tensor.shape, tensor.dtype)
                zero = self.flat.constant("pads", np.zeros((len(tensor.shape), 2), np.int32))
                self.flat.op("PAD", [tensor, zero], copy)
                tensor = copy
            self.flat.rename(tensor, name)
            used.add(tensor.number)
            found[name] = tensor
        return found


def _never_negative(op: ops.Op) -> bool:
    return isinstance(op, ops.Activation) and op.function in ("relu", "relu6", "sigmoid", "hardsigmoid")


def _keeps_sign(op: ops.Op) -> bool:
    """Whether an operation's result is not negative where nothing that it reads is."""
    return isinstance(op, ops.Add | ops.Gate | ops.Concat | ops.Pool | ops.GlobalPool | ops.Dropout | ops.DropPath)
