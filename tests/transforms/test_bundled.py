"""Every bundled spec computes after `inference` what it computed before."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import archc
from archc.backends.protocol import raw
from archc.ir import Graph, ops
from archc.ir.state import State
from archc.transforms import apply
from tests.transforms.networks import CLOSE, EXACT, difference, image, initial, module, outputs, weights

SPECS = sorted(archc.specs())
QUICK = ("mnv3_small", "mobilevit_xxs", "ssdlite320_mnv3_large")
SIZE = (96, 96)
"""Of images; the networks take any size, and in few pixels a fault is as large."""

ALL = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in SPECS]


def of_call(state: State, name: str) -> dict[str, Any]:
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


@pytest.mark.parametrize("name", ALL)
def test_inference_is_exact(name: str) -> None:
    before = archc.lower(archc.load(name))
    state = weights(before)
    after, rewritten = apply(before, state, ["inference"])
    assert rewritten is not None
    assert apply(before, None, ["inference"]) == (after, None)

    x = image(before, 1, SIZE)
    heads = {f"{call.name}." for call in before.calls}
    own = [{k: v for k, v in s.items() if not k.startswith(tuple(heads))} if heads else s for s in (state, rewritten)]
    assert difference(outputs(raw(after), own[1], x), outputs(raw(before), own[0], x)) < EXACT
    for old, new in zip(before.calls, after.calls, strict=True):
        x = image(old.graph, 3)
        theirs = outputs(old.graph, of_call(state, old.name), x)
        assert difference(outputs(new.graph, of_call(rewritten, new.name), x), theirs) < EXACT

    assert not any(isinstance(node.op, ops.BatchNorm | ops.Dropout | ops.DropPath) for node in after.nodes)
    assert after.total.macs == before.total.macs
    assert after.total.buffers == 0
    assert after.total.params == sum(value.size for value in rewritten.values())
    norms = [node for node in before.nodes if isinstance(node.op, ops.BatchNorm)]
    biases = sum(node.shape.channels for node in norms)  # no convolution before a norm has a bias of its own
    trained = sum(2 * node.shape.channels for node in norms if not node.op.frozen)  # type: ignore[union-attr]
    assert after.total.params == before.total.params - trained + biases
    assert archc.report(after).to_dict()["params"] == after.total.params

    assert Graph.from_json(json.loads(json.dumps(after.to_json()))) == after
    assert after.before == before
    assert after.whole == ()


@pytest.mark.parametrize("name", ALL)
def test_inference_in_float32_is_close(name: str) -> None:
    """With the weights that the spec starts from, as `archc.build` returns them."""
    graph = raw(archc.lower(archc.load(name)))
    state = initial(graph)
    after, rewritten = apply(graph, state, ["inference"])
    assert rewritten is not None
    x = image(graph, 1, SIZE)
    assert difference(outputs(after, rewritten, x), outputs(graph, state, x)) < CLOSE


@pytest.mark.parametrize(
    ("name", "drawn"), [("ssdlite320_mnv3_large", weights), ("fasterrcnn_mnv3_large_320_fpn", initial)]
)
def test_detectors_find_the_same_boxes(name: str, drawn: Callable[[Graph], State]) -> None:
    """With weights by which it finds some, and whose scores are far enough apart to be sorted."""
    spec = archc.load(name)
    before = archc.lower(spec)
    state = {key: value.astype("float64") for key, value in drawn(before).items()}
    after, rewritten = apply(before, state, ["inference"])
    assert rewritten is not None
    found = []
    for graph, own in ((before, state), (after, rewritten)):
        detector = module(graph, own)
        for part in (detector, getattr(detector, "rpn", None), getattr(detector, "roi_heads", None)):
            if part is not None and hasattr(part, "score_thresh"):
                part.score_thresh = 0.0
        x = [torch.rand(3, 200, 260, generator=torch.Generator().manual_seed(1), dtype=torch.float64)]
        with torch.inference_mode():
            found.append(detector(x)[0])
    theirs, ours = found
    assert len(theirs["boxes"]) > 10
    assert torch.equal(ours["labels"], theirs["labels"])
    assert difference({k: ours[k] for k in ("boxes", "scores")}, {k: theirs[k] for k in ("boxes", "scores")}) < 1e-6


@pytest.mark.parametrize("name", ["mnv3_small", *(pytest.param(n, marks=pytest.mark.slow) for n in (
    "keras_mnv3_small_minimalistic", "mobilevit_xxs", "ssdlite320_mnv3_large", "resnet50"))])  # fmt: skip
def test_keras_computes_the_same(name: str) -> None:
    keras = archc.backends.builder("keras")
    graph = raw(archc.lower(archc.load(name)))
    state = initial(graph)
    x = np.moveaxis(image(graph, 1).numpy(), 1, -1)
    before, after = (
        archc.build(graph, backend="keras", state=state, transforms=names) for names in ((), ("inference",))
    )
    assert keras.graph_of(after).transforms == ("inference",)  # type: ignore[union-attr]
    assert len(after.layers) < len(before.layers)
    theirs, ours = before.predict_on_batch(x), after.predict_on_batch(x)
    if not isinstance(theirs, dict):
        theirs, ours = {"": theirs}, {"": ours}
    assert set(ours) == set(theirs)
    for key, value in theirs.items():
        assert np.abs(ours[key] - value).max() <= CLOSE * np.abs(value).max()
