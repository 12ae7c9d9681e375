"""Detectors that find something: random weights alone give every box the same score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import skimage.data
import torch
from PIL import Image
from torch import nn

import archc
from archc.backends import builder
from archc.backends.protocol import raw
from archc.ir import Graph
from archc.ir.state import Array

PHOTOGRAPHS = [Image.fromarray(image()) for image in (skimage.data.astronaut, skimage.data.coffee, skimage.data.cat)]

SPREAD = {"classification": 3.0, "joint": 2.0, "objectness": 3.0, "regression": 2.0, "deltas": 0.5}
"""The deviation of a head's predictions."""


def images(graph: Graph, pictures: Sequence[Image.Image] = PHOTOGRAPHS) -> torch.Tensor:
    """Pictures of the graph's size, with values from 0 to 1: [N, 3, height, width]."""
    _, height, width = graph.input.shape
    arrays = [np.asarray(picture.resize((width, height))) for picture in pictures]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 255


def normalised(graph: Graph, given: torch.Tensor) -> torch.Tensor:
    """What the network takes."""
    preprocessing = graph.preprocessing
    assert preprocessing is not None
    mean, std = (torch.tensor(np.broadcast_to(v, 3).copy()) for v in (preprocessing.mean, preprocessing.std))
    result: torch.Tensor = (given - mean.view(3, 1, 1).float()) / std.view(3, 1, 1).float()
    return result


def lively(graph: Graph) -> dict[str, Array]:
    """Random weights with which the features, the scores and the boxes differ from place to place.

    Norms must be trainable: their statistics are those of the photographs. The heads' weights are scaled to `SPREAD`.
    """
    torch_, plain, given = builder("torch"), raw(graph), normalised(graph, images(graph))
    random = np.random.default_rng(0)
    state: dict[str, Array] = {}
    for key, weight in graph.tensors():
        if len(weight.shape) > 1:
            scale = np.sqrt(2 / np.prod(weight.shape[1:]))
            state[key] = (scale * random.standard_normal(weight.shape)).astype(np.float32)
        else:
            state[key] = np.full(weight.shape, key.endswith(("weight", "running_var")), np.float32)
    net = torch_.build(plain, state={key: state[key] for key, _ in plain.tensors()}).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net(given)
        state.update({key: value for key, value in torch_.read(net, plain).items() if key in state})
        # Three images of one position each may hardly differ.
        state.update({key: np.maximum(v, np.float32(0.1)) for key, v in state.items() if key.endswith("running_var")})
        torch_.write(net, {key: state[key] for key, _ in plain.tensors()}, plain)
        found = net.eval()(given)
    owners = {region.full(n.name): region.owner(n.name) for region in plain.regions for n in region.subgraph.nodes}
    heads: dict[str, list[str]] = {}
    for name in plain.outputs.keys() - graph.levels.keys():
        heads.setdefault(owners[plain.outputs[name]], []).append(name)
    for owner, names in heads.items():
        deviation = np.mean([float(found[name].std()) for name in names])
        state[f"{owner}.weight"] *= np.float32(SPREAD[names[0].partition("_")[0]] / deviation)
    if graph.calls:
        _liven_box_head(graph, state)
    return state


def _liven_box_head(graph: Graph, state: dict[str, Array]) -> None:
    model = archc.build(graph, state=state).eval()
    got: list[torch.Tensor] = []
    model.roi_heads.box_predictor.register_forward_hook(lambda module, given, found: got.extend(found))
    with torch.no_grad():
        model([images(graph)[0]])
    for name, value, wanted in zip(("scores", "deltas"), got, (2.5, 2.0), strict=True):
        scale = wanted / float((value - value.mean(0)).std())
        state[f"roi_heads.{name}.0.linear.weight"] *= np.float32(scale)
        if name == "scores":
            state[f"roi_heads.{name}.0.linear.bias"] = -scale * value.mean(0).numpy()


def noise(graph: Graph, seed: int) -> torch.Tensor:
    """An image of smooth random colours."""
    _, height, width = graph.input.shape
    coarse = torch.rand(1, 3, 7, 9, generator=torch.Generator().manual_seed(seed))
    smooth: torch.Tensor = nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return smooth
