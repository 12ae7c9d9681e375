"""`preprocess`: a network that takes pixels computes what it computed from normalised images."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import archc
from archc.backends.protocol import raw
from archc.ir import Graph, ops
from archc.transforms import apply
from tests.transforms.networks import CLOSE, EXACT, difference, outputs, weights

CHANGES = {
    "imagenet": [],
    "bgr": ["input.channel_order=bgr"],
    "one number": ["input.mean=0.5", "input.std=0.25"],
    "grey": ["input.channels=1", "input.mean=0.4", "input.std=0.3"],
}


def pixels(graph: Graph) -> torch.Tensor:
    return torch.randint(0, 256, (2, *graph.input.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normalised(graph: Graph, x: torch.Tensor) -> torch.Tensor:
    """What torchvision's presets and timm do with pixels."""
    given = graph.preprocessing
    assert given is not None
    x = x.flip(1) if given.channel_order == "bgr" else x
    mean, std = (torch.tensor(value, dtype=torch.float64).reshape(-1, 1, 1) for value in (given.mean, given.std))
    return (x.double() / 255 - mean) / std


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", ["mnv3_small", "efficientnet_lite0", "mobilevit_xxs"])
def test_pixels_in_exact(name: str, changes: list[str]) -> None:
    before = archc.lower(archc.load(name, ["width_mult=0.25", "input.size=64", *changes]))
    state = weights(before)
    after, rewritten = apply(before, state, ["preprocess"])
    assert rewritten is not None
    assert after.input.op == ops.Input("uint8")
    x = pixels(before)
    assert difference(outputs(after, rewritten, x), outputs(before, state, normalised(before, x))) < EXACT
    assert after.total == before.total, "the normalisation costs no MACs, and the kernel takes the scale"
    assert Graph.from_json(json.loads(json.dumps(after.to_json()))) == after


def test_only_the_mean_is_left_to_subtract() -> None:
    graph = archc.lower(archc.load("mnv3_small", ["input.channel_order=bgr"]))
    after, _ = apply(graph, None, ["inference", "preprocess"])
    (op,) = [node.op for node in after.nodes if isinstance(node.op, ops.Normalize)]
    assert op.mean == tuple(255 * m for m in (0.406, 0.456, 0.485)), "in the order of RGB"
    assert op.scale == (1.0, 1.0, 1.0)
    assert not op.reverse


def test_several_readers_keep_the_whole_normalisation() -> None:
    """No kernel can take the scale where something else reads the image, too."""
    spec = {
        "num_classes": 10,
        "input": {"size": 32},
        "stages": {
            "stem": [{"block": "conv", "kernel": 3, "out": 8, "stride": 2}],
            "other": [{"block": "conv", "kernel": 3, "out": 8, "stride": 2, "from": "input"}],
            "join": [{"block": "add", "from": ["stem", "other"]}],
            "head": [{"block": "pool", "kind": "global"}, {"block": "linear", "out": 10}],
        },
    }
    before = archc.lower(archc.load(spec))
    state = weights(before)
    after, rewritten = apply(before, state, ["preprocess"])
    assert rewritten is not None
    (op,) = [node.op for node in after.nodes if isinstance(node.op, ops.Normalize)]
    np.testing.assert_allclose(op.scale, [1 / (255 * s) for s in (0.229, 0.224, 0.225)])
    x = pixels(before)
    assert difference(outputs(after, rewritten, x), outputs(before, state, normalised(before, x))) < EXACT


def test_twice_is_once() -> None:
    graph = archc.lower("mnv3_small")
    once, _ = apply(graph, None, ["preprocess"])
    twice, _ = apply(once, None, ["preprocess"])
    assert twice.regions == once.regions
    assert twice.input == once.input


def test_a_graph_without_preprocessing_is_refused() -> None:
    graph = replace(archc.lower("mnv3_small"), preprocessing=None)
    with pytest.raises(ValueError, match="does not say how an image becomes its input"):
        apply(graph, None, ["preprocess"])


def test_keras_takes_pixels_too() -> None:
    graph = archc.lower(archc.load("mobilevit_xxs", ["input.size=64"]))
    state = {key: value.astype("float32") for key, value in weights(graph).items()}
    after, rewritten = apply(graph, state, ["preprocess"])
    assert rewritten is not None
    model = archc.build(after, backend="keras", state=rewritten)
    x = pixels(graph)
    ours = np.asarray(model(x.permute(0, 2, 3, 1).numpy(), training=False).detach().numpy())
    reference = outputs(graph, state, normalised(graph, x).float())
    assert difference({"": torch.from_numpy(ours)}, reference) < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(archc.specs()))
def test_every_bundled_spec(name: str) -> None:
    graph = raw(archc.lower(archc.load(name, ["input.size=64"])))
    state = weights(graph)
    after, rewritten = apply(graph, state, ["inference", "preprocess"])
    assert rewritten is not None
    x = pixels(graph)
    assert difference(outputs(after, rewritten, x), outputs(graph, state, normalised(graph, x))) < EXACT
