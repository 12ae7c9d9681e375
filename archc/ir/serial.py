"""The graph's JSON form, which other tools build on. Version 1:

    {"format": "archc-graph", "version": 1, "archc": "0.1.0",
     "name": "…", "input": {"name": "input", "dtype": "float32", "shape": {"kind": "image", "sizes": [3, 224, 224]}},
     "stages": {"stem": "Stage", …},                 class name by stage, in order
     "regions": [REGION, …],                         one per row, in execution order
     "outputs": {"head": "head.3.linear"}, "single": true, "levels": {…},
     "calls": [{"name": …, "on": "proposals", "times": …, "graph": {…}}],
     "preprocessing": {…}, "num_classes": …, "detector": {…} or null,
     "whole": [REGION, …], "transforms": ["fold_norms", …], "before": the graph before them or null,
     "spec": "the spec as YAML" or null}

    REGION: {"stage", "row", "source": ["c4", 0], "label", "width", "is_head", "level", "shares",
             "inputs": [full names], "placeholders": [SHAPE], "scopes": {path: class name}, "result": local name,
             "nodes": [{"name": local, "op": "conv", "attributes": {…}, "inputs": [local], "shape": SHAPE,
                        "weights": [{"name", "shape", "trainable", "initial": {"kind", "scale"}}]}]}

Inside a region, `@0`, `@1`, … name its inputs. A weight's canonical name, as in a `State`, is
`stage.row.node.weight`; a region with `shares` uses the weights of the region named there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from archc.ir.graph import Call, Graph, Node, Region, Subgraph
from archc.ir.initial import Distribution
from archc.ir.ops import KINDS, Image, Input, Op, Shape, Tokens, Vector, Weight
from archc.ir.verify import InvalidGraphError, verify, verify_subgraph
from archc.language.detector import Detector
from archc.language.settings import Input as Preprocessing

FORMAT, VERSION = "archc-graph", 1

_SHAPES: dict[str, type[Shape]] = {"image": Image, "tokens": Tokens, "vector": Vector}
_SHAPE_KINDS = {kind: name for name, kind in _SHAPES.items()}

Json = dict[str, Any]


def to_json(graph: Graph) -> Json:
    """The graph as plain values that `json.dumps` takes."""
    import archc

    return {"format": FORMAT, "version": VERSION, "archc": archc.__version__, **_graph(graph), "spec": graph.yaml}


def from_json(value: Mapping[str, Any]) -> Graph:
    """The graph of a JSON form; see `Graph.from_json`."""
    if value.get("format") != FORMAT:
        raise ValueError(f"this is no graph of archc's: its `format` is not `{FORMAT}`")
    if value.get("version") != VERSION:
        raise ValueError(f"this graph has version {value.get('version')} of the format; archc reads {VERSION}")
    try:
        return verify(_read_graph(value, value["spec"]))
    except InvalidGraphError as error:
        raise ValueError(f"the graph does not hold together: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"the graph's settings are damaged: {first['loc']}: {first['msg']}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the graph is damaged: {type(error).__name__}: {error}") from None


def _graph(graph: Graph) -> Json:
    return {
        "name": graph.name,
        "input": {"name": graph.input.name, **attributes(graph.input.op), "shape": shape_json(graph.input.shape)},
        "stages": dict(graph.stages),
        "regions": [_region(region) for region in graph.regions],
        "outputs": dict(graph.outputs),
        "single": graph.single,
        "levels": dict(graph.levels),
        "calls": [{"name": c.name, "on": c.on, "times": c.times, "graph": _graph(c.graph)} for c in graph.calls],
        "preprocessing": _settings(graph.preprocessing),
        "num_classes": graph.num_classes,
        "detector": _settings(graph.detector),
        "whole": [_region(region) for region in graph.whole],
        "transforms": list(graph.transforms),
        "before": None if graph.before is None else _graph(graph.before),
    }


def _read_graph(value: Mapping[str, Any], spec: str | None = None) -> Graph:
    preprocessing, detector = value["preprocessing"], value["detector"]
    return Graph(
        value["name"],
        Node(value["input"]["name"], _read_input(value["input"]), (), read_shape(value["input"]["shape"])),
        tuple(_read_region(region) for region in value["regions"]),
        dict(value["stages"]),
        dict(value["outputs"]),
        bool(value["single"]),
        dict(value["levels"]),
        tuple(Call(c["name"], _read_graph(c["graph"]), c["on"], c["times"]) for c in value["calls"]),
        None if preprocessing is None else Preprocessing.model_validate(preprocessing),
        value["num_classes"],
        None if detector is None else _DETECTOR.validate_python(detector),
        tuple(_read_region(region) for region in value["whole"]),
        tuple(value["transforms"]),
        None if value["before"] is None else _read_graph(value["before"], spec),
        spec,
    )


_DETECTOR: TypeAdapter[Detector] = TypeAdapter(Detector)


def _settings(settings: BaseModel | None) -> Json | None:
    return None if settings is None else settings.model_dump(mode="json", by_alias=True)


def _region(region: Region) -> Json:
    subgraph = region.subgraph
    return {
        "stage": region.stage,
        "row": region.row,
        "source": list(region.source),
        "label": region.label,
        "width": region.width,
        "is_head": region.is_head,
        "level": region.level,
        "shares": region.shares,
        "inputs": list(region.inputs),
        "placeholders": [shape_json(placeholder.shape) for placeholder in subgraph.placeholders],
        "scopes": dict(subgraph.scopes),
        "result": subgraph.result.name,
        "nodes": [_node(node) for node in subgraph.nodes],
    }


def _read_region(value: Mapping[str, Any]) -> Region:
    stage, index = value["source"]
    shapes = [read_shape(shape) for shape in value["placeholders"]]
    placeholders = tuple(Node(f"@{number}", Input(), (), shape) for number, shape in enumerate(shapes))
    nodes = tuple(_read_node(node) for node in value["nodes"])
    results = {node.name: node for node in (*placeholders, *nodes)}
    return Region(
        value["stage"],
        value["row"],
        value["label"],
        verify_subgraph(Subgraph(placeholders, nodes, dict(value["scopes"]), results[value["result"]])),
        tuple(value["inputs"]),
        (stage, index),
        value["width"],
        value["is_head"],
        value["level"],
        value["shares"],
    )


def _node(node: Node) -> Json:
    return {
        "name": node.name,
        "op": node.op.kind,
        "attributes": attributes(node.op),
        "inputs": list(node.inputs),
        "shape": shape_json(node.shape),
        "weights": [
            {
                "name": weight.name,
                "shape": list(weight.shape),
                "trainable": weight.trainable,
                "initial": weight.initial._asdict(),
            }
            for weight in node.weights
        ],
    }


def _read_node(value: Mapping[str, Any]) -> Node:
    weights = tuple(
        Weight(w["name"], tuple(w["shape"]), w["trainable"], Distribution(**w["initial"])) for w in value["weights"]
    )
    inputs = tuple(value["inputs"])
    return Node(value["name"], read_op(value), inputs, read_shape(value["shape"]), weights)


def read_op(value: Mapping[str, Any]) -> Op:
    """The operation of a node's JSON form.

    Raises:
        ValueError: there is no such operation.
    """
    kind = KINDS.get(value["op"])
    if kind is None:
        named = f", which `{value['name']}` is" if "name" in value else ""
        raise ValueError(f"there is no operation `{value['op']}`{named}")
    return kind(**{name: _tupled(attribute) for name, attribute in value["attributes"].items()})


def _read_input(value: Mapping[str, Any]) -> Input:
    if value["dtype"] not in ("float32", "uint8"):
        raise ValueError(f"an input of type {value['dtype']!r}: it is float32 or uint8")
    return Input(value["dtype"])


def attributes(op: Op) -> Json:
    """An operation's attributes as plain values."""
    return {field.name: _plain(getattr(op, field.name)) for field in fields(op)}


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(item) for item in value) if isinstance(value, list) else value


def shape_json(shape: Shape) -> Json:
    """A shape's JSON form."""
    return {"kind": _SHAPE_KINDS[type(shape)], "sizes": list(shape)}


def read_shape(value: Mapping[str, Any]) -> Shape:
    """The shape of a JSON form."""
    return _SHAPES[value["kind"]](*value["sizes"])
