"""`ranges.json`: what images told about a network, so that every target can be written without them.

The file is JSON:

    {"format": "archc.ranges", "version": 1, "archc": "0.1.0",
     "network": "mobilenet_v2", "digest": "9f2c…", "transforms": ["inference"],
     "method": "mse", "images": 40,
     "values":  {"c1.0.act": [0.0, 6.0], …},           the ranges of int8 values, by their names in the IR
     "weights": {"c1.0.conv.weight": [0.0117, …], …},  the scales of int8 kernels, one for each output channel
     "floats":  ["head.0.norm", …],                    operations that compute in float
     "state":   {"c1.0.conv.bias": [0.31, …], …}}      corrected biases, and the integers of kernels that were
                                                       rounded by their inputs, in the order of the IR's layout

`digest` belongs to the network before the transforms: its operations and all of its weights, not its size of image. So
a file is never used for another network, or for the same one after more training. Other kernels are not in the file:
they are the network's own after the transforms.
"""

from __future__ import annotations

import hashlib
import json
import math
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from archc.document.diagnostics import fail
from archc.exporting.network import Network
from archc.files import write_text
from archc.ir.graph import Graph
from archc.ir.quantization import Quantization, Range
from archc.ir.state import Array, State, is_counter
from archc.quantization.calibrate import EQUALISE, Calibrated, ready
from archc.quantization.ranges import METHODS

FORMAT, VERSION = "archc.ranges", 1


def digest(network: Network) -> str:
    """A fingerprint of a network: of its operations and its weights."""
    found = hashlib.sha256()
    for node in network.graph.nodes:
        found.update(f"{node.name} {node.op!r} {node.inputs}\n".encode())
    for key in sorted(key for key in network.state if not is_counter(key)):
        value = np.ascontiguousarray(network.state[key])
        found.update(f"{key} {value.dtype} {value.shape}\n".encode())
        found.update(value.tobytes())
    return found.hexdigest()


def to_json(calibrated: Calibrated, network: Network) -> dict[str, Any]:
    """The file's content. `network` is the one before the transforms."""
    import archc

    before = ready(network, equalise=EQUALISE in calibrated.graph.transforms).state
    return {
        "format": FORMAT,
        "version": VERSION,
        "archc": archc.__version__,
        "network": network.graph.name,
        "digest": digest(network),
        "transforms": list(calibrated.graph.transforms),
        "method": calibrated.method,
        "images": calibrated.images,
        "values": {name: list(range) for name, range in calibrated.quantization.values.items()},
        "weights": {name: list(scales) for name, scales in calibrated.quantization.weights.items()},
        "floats": sorted(calibrated.quantization.floats),
        "state": {
            key: _integers(value, calibrated.quantization.weights.get(key))
            for key, value in calibrated.state.items()
            if not np.array_equal(value, before[key])
        },
    }


def _integers(value: Array, scales: tuple[float, ...] | None) -> list[Any]:
    """A weight as JSON: a kernel by its integers, a bias by its numbers."""
    if scales is None:
        return value.tolist()
    steps = np.reshape(scales, (-1, *[1] * (value.ndim - 1)))
    return np.rint(value.astype(np.float64) / steps).astype(int).reshape(-1).tolist()


def save(calibrated: Calibrated, network: Network, path: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Write the file.

    Raises:
        FileExistsError: it exists, and may not be overwritten.
        OSError: it cannot be written.
    """
    write_text(Path(path), json.dumps(to_json(calibrated, network)) + "\n", overwrite=overwrite)


def read(path: str | PathLike[str], network: Network) -> Calibrated:
    """The calibration of a network that a file holds.

    Raises:
        SpecError: `wrong-ranges`: it is no such file, or it belongs to another network.
        OSError: it cannot be read.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise fail("wrong-ranges", f"`{path}` is no file of ranges: {error}") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise fail("wrong-ranges", f"`{path}` is no file of ranges: it does not say `{FORMAT}`")
    if value.get("version") != VERSION:
        message = f"`{path}` has version {value.get('version')} of the format; this archc reads version {VERSION}"
        raise fail("wrong-ranges", message)
    if value.get("digest") != digest(network):
        named = value.get("network")
        other = f"it was made for `{named}`" if named != network.graph.name else "it was made with other weights"
        message = f"`{path}` does not belong to this network: {other}"
        raise fail("wrong-ranges", message, help="calibrate again, on images: `--calibrate IMAGES`")
    try:
        rewritten = ready(network, equalise=EQUALISE in value["transforms"])
        return _calibrated(value, rewritten.graph, rewritten.state)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise fail("wrong-ranges", f"`{path}` is damaged: {error}") from None


def _calibrated(value: dict[str, Any], graph: Graph, state: State) -> Calibrated:
    shapes = graph.shapes()
    ranges = {name: Range(float(low), float(high)) for name, (low, high) in value["values"].items()}
    weights = {key: tuple(float(scale) for scale in scales) for key, scales in value["weights"].items()}
    floats = frozenset(value["floats"])
    changed = {key: _weight(numbers, weights.get(key), state[key]) for key, numbers in value["state"].items()}
    if unknown := [name for name in (*ranges, *floats) if name not in shapes]:
        raise ValueError(f"the network has no value `{unknown[0]}`")
    if unknown := [key for key in weights if key not in state or len(state[key]) != len(weights[key])]:
        raise ValueError(f"the scales of `{unknown[0]}` do not fit")
    every = [
        *(number for range in ranges.values() for number in range),
        *(s for each in weights.values() for s in each),
    ]
    if not all(map(math.isfinite, every)) or any(low > high for low, high in ranges.values()):
        raise ValueError("a range or scale is no number")
    if value["method"] not in METHODS:
        raise ValueError(f"there is no method {value['method']!r}")
    quantization = Quantization(ranges, weights, floats)
    return Calibrated(graph, {**state, **changed}, quantization, value["method"], int(value["images"]))


def _weight(numbers: list[float], scales: tuple[float, ...] | None, like: Array) -> Array:
    """A weight from JSON; the other way round as `_integers`.

    Raises:
        ValueError: another number of numbers.
    """
    value = np.asarray(numbers, np.float64).reshape(like.shape)
    if scales is not None:
        value = value * np.reshape(scales, (-1, *[1] * (value.ndim - 1)))
    return value.astype(like.dtype)
