"""From a graph and its weights to an `.mlpackage`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archc.backends.coreml.library import ct, mb, mil, passes, quiet
from archc.backends.coreml.rules import RULES
from archc.backends.coreml.sizes import LARGEST, smallest
from archc.backends.coreml.step import Step, Var, identifier
from archc.backends.protocol import INPUT, Form
from archc.ir import ops
from archc.ir.graph import Graph
from archc.ir.state import State

OUTPUTS = "archc_outputs"
"""The names of the outputs by those in the file, as JSON, where a name is no identifier."""

TARGET = ct.target.iOS16
"""The oldest system that runs the files: iOS 16, macOS 13."""


def emit(graph: Graph, state: State, path: Path, form: Form) -> None:
    """Write the file of a graph that is supported, with a state that fits."""
    named = names(graph)
    with quiet():
        program, inputs = _program(graph, state, form, named)
        precision = ct.precision.FLOAT16 if form.precision == "f16" else ct.precision.FLOAT32
        model = ct.convert(
            program,
            convert_to="mlprogram",
            inputs=inputs,
            outputs=[ct.TensorType(name) for name in named.values()],
            compute_precision=precision,
            minimum_deployment_target=TARGET,
            pass_pipeline=passes(),
            skip_model_load=True,  # nothing is compiled, even where that is possible
        )
        _describe(model, graph, form, named)
        model.save(str(path))


def names(graph: Graph) -> dict[str, str]:
    """The names of the outputs in the file. Core ML takes identifiers only: a level `0` becomes `_0`."""
    found: dict[str, str] = {}
    for name in graph.outputs:
        safe = identifier(name)
        while safe in (INPUT, *found.values()):
            safe += "_"
        found[name] = safe
    return found


def takes_pixels(graph: Graph) -> bool:
    """Whether the input is an image of Core ML's own type."""
    return graph.input.op == ops.Input("uint8")


def _program(graph: Graph, state: State, form: Form, named: Mapping[str, str]) -> tuple[Any, list[Any]]:
    """The program, and the type of its input."""
    batch, shape = form.batch or 1, graph.input.shape
    assert isinstance(shape, ops.Image)
    sides: list[Any] = [shape.height, shape.width]
    if form.any_size:
        sides = [
            ct.RangeDim(least, LARGEST * side, default=side) for least, side in zip(smallest(graph), sides, strict=True)
        ]
    dimensions = [batch, shape.channels, *sides]
    if takes_pixels(graph):
        colours = ct.colorlayout.RGB if shape.channels == 3 else ct.colorlayout.GRAYSCALE
        source = ct.ImageType(INPUT, shape=tuple(dimensions), color_layout=colours)
    else:
        source = ct.TensorType(INPUT, shape=tuple(dimensions), dtype=mil.types.fp32)
    symbols = tuple([getattr(side, "symbol", side) for side in dimensions])
    function = mil.Function({INPUT: mb.placeholder(symbols, mil.types.fp32)}, opset_version=TARGET)
    with function:
        values = _values(graph, state, form, function.inputs[INPUT])
        returned = [mb.identity(x=values[node], name=named[name]) for name, node in graph.outputs.items()]
        function.set_outputs(returned)
    program = mil.Program()
    program.add_function("main", function)
    return program, [source]


def _values(graph: Graph, state: State, form: Form, image: Var) -> Mapping[str, Var]:
    values, shapes, constants = {graph.input.name: image}, graph.shapes(), dict[str, Var]()
    for region in graph.regions:
        for local, node in zip(region.subgraph.nodes, region.nodes(), strict=True):
            owner = region.owner(local.name)
            step = Step(
                node,
                [values[name] for name in node.inputs],
                tuple([shapes[name] for name in node.inputs]),
                {weight.name: state[f"{owner}.{weight.name}"] for weight in node.weights},
                owner,
                form.batch or 1,
                form.any_size,
                form.precision == "f16",
                constants,
            )
            values[node.name] = RULES[type(node.op)](step, node.op)
    return values


def _describe(model: Any, graph: Graph, form: Form, named: Mapping[str, str]) -> None:
    """What Xcode shows of a model, and the texts of the form."""
    version = form.metadata.get("archc_version", "")
    model.short_description = f"{graph.name}, compiled by archc {version}".rstrip()
    model.author = f"archc {version}".rstrip()
    model.version = version
    shape = graph.input.shape
    assert isinstance(shape, ops.Image)
    size = "of any size" if form.any_size else f"of {shape.width}×{shape.height} pixels"
    colours = {3: "RGB", 1: "grey"}.get(shape.channels, f"{shape.channels} channels")
    what = f"An image {size}, {colours}"
    if not takes_pixels(graph):
        what = f"A normalised image {size}: batch × channels × height × width"
    model.input_description[INPUT] = what
    for name, node in graph.outputs.items():
        given = {ops.Image: "batch × channels × height × width", ops.Vector: "batch × channels"}
        layout = given.get(type(graph.shapes()[node]), "batch · positions × length × channels")
        model.output_description[named[name]] = f"`{name}`: {layout}"
    model.user_defined_metadata.update(form.metadata)
    changed = {safe: name for name, safe in named.items() if safe != name}
    if changed:
        model.user_defined_metadata[OUTPUTS] = json.dumps(changed)
