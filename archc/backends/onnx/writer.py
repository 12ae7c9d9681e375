"""An ONNX model in the making: nodes, constants and the texts about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archc.extras import require
from archc.ir.state import Array

onnx = require("onnx", "onnx")

OPSET = 20
"""The first with GELU. Newer ones add nothing that a network here needs, and fewer runtimes read them."""

IR_VERSION = 9
"""The file format's version that belongs to the opset."""

Dim = int | str
"""A size, or the name of one that is left open."""

Port = tuple[str, str, Sequence[Dim]]
"""An input or output of the file: its name, its type as NumPy calls it, and its shape."""


class Writer:
    """The graph of a model. Values go by name; names are unique.

    Nodes are added in the order of execution. Within `scope`, names start with what is named there.
    """

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: dict[tuple[bytes, str, tuple[int, ...], str], str] = {}
        self._initializers: list[Any] = []
        self._taken: set[str] = set()
        self._names: dict[str, str] = {}
        self._sizes: dict[str, str] = {}
        self.scope = ""

    def add(self, kind: str, inputs: Sequence[str], name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name.

        Args:
            kind: the operator.
            inputs: the names of values; an empty one stands for an optional input that is left out.
            name: of the node and of its output; by default, one in the scope that says what the operator is.
            attributes: the operator's; those that are None are left out.
        """
        return self.add_many(kind, inputs, (name or self._fresh(kind.lower()),), **attributes)[0]

    def add_many(self, kind: str, inputs: Sequence[str], names: Sequence[str], **attributes: Any) -> tuple[str, ...]:
        """Add a node with several outputs of these names. The node has the first of them."""
        for name in names:
            self._taken.add(name)
        stated = {key: value for key, value in attributes.items() if value is not None}
        self._nodes.append(onnx.helper.make_node(kind, list(inputs), list(names), names[0], **stated))
        return tuple(names)

    def fresh(self, label: str) -> str:
        """A new name for a value, in the scope."""
        return self._fresh(label)

    def constant(self, value: Any, name: str | None = None) -> str:
        """A constant array. Equal ones with equal names are kept once, and so are all equal ones without a name."""
        array = np.asarray(value)
        key = (array.tobytes(), array.dtype.str, array.shape, name or "")
        if key not in self._constants:
            made = name or _label(array)
            if made in self._taken:
                made = self._numbered(made)
            self._taken.add(made)
            self._initializers.append(onnx.numpy_helper.from_array(np.asarray(array, order="C"), made))
            self._constants[key] = made
        return self._constants[key]

    def integers(self, *values: int) -> str:
        """A constant vector of 64-bit integers, as operators take shapes and axes."""
        return self.constant(np.array(values, np.int64))

    def size(self, image: str) -> str:
        """The height and width of an image, two integers, for a size that is only known when the file runs."""
        if image not in self._sizes:
            self._sizes[image] = self.add("Shape", [image], start=2, end=4)
        return self._sizes[image]

    def cast(self, value: str, dtype: Any) -> str:
        """A value in another type, by NumPy's name."""
        return self.add("Cast", [value], to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reserve(self, *names: str) -> None:
        """Keep names for those who will ask for them."""
        self._taken.update(names)

    def name(self, values: Mapping[str, str], keep: str) -> None:
        """Give values the names that the file returns them by. `keep` is the input, whose name stays.

        A value that is returned by several names is passed on by a node for each of the others.
        """
        renamed: dict[str, str] = {}
        for name, value in values.items():
            if value == keep or value in renamed:
                self.add("Identity", [value], name)
            else:
                renamed[value] = name
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [renamed.get(name, name) for name in names]

    def model(self, name: str, image: Port, outputs: Sequence[Port], metadata: Mapping[str, str]) -> bytes:
        """The file."""
        graph = onnx.helper.make_graph(
            _needed(self._nodes, [output for output, *_ in outputs]),
            name,
            [_port(*image)],
            [_port(*port) for port in outputs],
        )
        used = {value for node in graph.node for value in node.input}
        graph.initializer.extend(item for item in self._initializers if item.name in used)
        import archc

        model = onnx.helper.make_model(
            graph,
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="archc",
            producer_version=archc.__version__,
        )
        onnx.helper.set_model_props(model, dict(metadata))
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def _fresh(self, label: str) -> str:
        full = f"{self.scope}/{label}" if self.scope else label
        return full if full not in self._taken else self._numbered(full)

    def _numbered(self, name: str) -> str:
        number = 1
        while f"{name}_{number}" in self._taken:
            number += 1
        return f"{name}_{number}"


def _label(array: Array) -> str:
    """A readable name for a constant without one."""
    if array.size > 6:
        return "constant"
    return "x".join(f"{number:.6g}" for number in array.ravel().tolist()) or "none"


def _needed(nodes: Sequence[Any], outputs: Sequence[str]) -> list[Any]:
    """The nodes that the outputs need, in their order."""
    live, kept = set(outputs), list[Any]()
    for node in reversed(nodes):
        if not live.isdisjoint(node.output):
            live.update(node.input)
            kept.append(node)
    return kept[::-1]


def _port(name: str, dtype: str, shape: Sequence[Dim]) -> Any:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return onnx.helper.make_tensor_value_info(name, kind, list(shape))
