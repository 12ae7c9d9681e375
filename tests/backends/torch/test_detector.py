"""Detectors against torchvision's own: prices, boxes on photographs, training losses, and an epoch of training."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.ssd import SSD
from torchvision.ops import FrozenBatchNorm2d

import archc
from archc.backends import builder
from archc.backends.protocol import raw
from archc.backends.torch import paths
from tests.backends.torch.detectors import PEERS, PUBLISHED, peer, photographs, shaken, targets, trainable
from tests.weights.conftest import named

LIGHT = ["fasterrcnn_mnv3_large_320_fpn", "ssdlite320_mnv3_large"]
ALL = [*LIGHT, "ssdlite_mobilevit_s", "fasterrcnn_mnv3_large_fpn", "fasterrcnn_resnet50_fpn"]
HEAVY = [name for name in PEERS if name not in LIGHT]


@pytest.mark.parametrize("name", PUBLISHED)
def test_prices_are_those_that_torchvision_publishes(name: str) -> None:
    """Its GFLOPs are of 320×320 or 800×800 noise: in it, MobileNetV3's find no proposal above their threshold, while
    ResNet's, which have none, are 1000."""
    report, published = archc.report(name), PUBLISHED[name].meta
    assert report.params == published["num_params"]
    proposals = sum(head.macs for head in report.heads if head.on == "proposals")
    counted = report.macs - (proposals if "fasterrcnn_mnv3" in name else 0)
    assert f"{counted / 1e9:.3f}" == f"{published['_ops']:.3f}"


def test_frozen_norms_have_no_parameters() -> None:
    frozen, trained = (
        archc.build(archc.load("fasterrcnn_mnv3_large_fpn", overrides), device="meta")
        for overrides in ([], ["norm.kind=batch"])
    )
    for model, parameters in ((frozen, 19_386_354), (trained, 19_410_754)):
        assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert any(isinstance(layer, FrozenBatchNorm2d) for layer in frozen.modules())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in frozen.modules())
    scratch = trainable()
    assert sum(parameter.numel() for parameter in scratch.parameters()) == 19_410_754


@pytest.mark.parametrize("name", LIGHT)
@torch.inference_mode()
def test_prices_are_torchs_count_of_torchvisions_own_module(name: str) -> None:
    """Of a whole prediction, what stands between the networks included; proposals as many as there were."""
    model, spec = peer(name), archc.load(name)
    found: list[int] = []
    if isinstance(model, FasterRCNN):
        hook = model.roi_heads.box_head.register_forward_hook(lambda _, inputs, __: found.append(len(inputs[0])))
    with FlopCounterMode(display=False) as counter:
        model([torch.rand(3, 320, 320, generator=torch.Generator().manual_seed(0))])
    if found:
        hook.remove()
        spec = spec.override({"detector.rpn.post_nms_top_n_test": found[0]})
    assert counter.get_total_flops() == 2 * archc.report(spec).macs


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    ours = archc.build(name)
    archc.load_weights(ours, peer(name).state_dict())
    return ours.eval(), peer(name)


def check_boxes(name: str, pictures: Sequence[torch.Tensor]) -> None:
    ours, theirs = pair(name)
    with torch.inference_mode():
        expected, actual = theirs(list(pictures)), ours(list(pictures))
    for one, other in zip(expected, actual, strict=True):
        assert set(one) == set(other) == {"boxes", "labels", "scores"}
        assert len(one["scores"]) > 5
        assert all(torch.equal(one[key], other[key]) for key in one)


def check_losses(name: str, smaller: bool = False) -> None:
    ours, theirs = pair(name)
    found: list[dict[str, torch.Tensor]] = []
    images = [photographs()[0], photographs()[1]]
    for model in (copy.deepcopy(theirs), ours):
        if smaller:
            model.transform.min_size, model.transform.max_size = (256,), 384
        torch.manual_seed(5)
        found.append(model.train()(images, targets(images)))
        sum(found[-1].values(), torch.tensor(0.0)).backward()
    expected, actual = found
    assert len(expected) == (4 if isinstance(theirs, FasterRCNN) else 2)
    assert {key: value.item() for key, value in actual.items()} == {k: v.item() for k, v in expected.items()}
    assert all(parameter.grad is not None for parameter in ours.parameters())


@pytest.mark.parametrize("name", LIGHT)
def test_boxes_on_photographs_are_torchvisions_to_the_bit(name: str) -> None:
    check_boxes(name, photographs())


@pytest.mark.parametrize("name", LIGHT)
def test_training_losses_are_torchvisions_to_the_bit(name: str) -> None:
    check_losses(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
def test_boxes_and_losses_of_the_large_ones_too(name: str) -> None:
    check_boxes(name, photographs()[1:2])
    check_losses(name, smaller=True)


def test_norms_that_train_are_torchvisions_too() -> None:
    """The losses of a step with batch statistics, and the running ones after it."""
    torch.manual_seed(0)
    theirs = shaken(trainable())
    ours = archc.build(archc.load("fasterrcnn_mnv3_large_320_fpn", ["norm.kind=batch"]))
    archc.load_weights(ours, theirs.state_dict())
    images = [image[:, :224, :224] for image in photographs()[:2]]
    found = []
    for model in (theirs, ours):
        torch.manual_seed(1)
        found.append({key: value.item() for key, value in model.train()(images, targets(images)).items()})
    assert found[0] == found[1]
    after = [next(layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)) for model in (theirs, ours)]
    assert after[0].num_batches_tracked == after[1].num_batches_tracked == 1
    assert torch.equal(after[0].running_var, after[1].running_var)


@pytest.mark.parametrize("name", PEERS)
def test_settings_arrive_where_torchvision_keeps_them(name: str) -> None:
    """Everything that the two modules hold beside their layers is equal."""
    ours, theirs = archc.build(name, device="meta"), peer(name)
    pairs = [(ours, theirs), (ours.transform, theirs.transform)]
    if isinstance(theirs, FasterRCNN):
        pairs += [
            (ours.rpn, theirs.rpn),
            (ours.rpn.anchor_generator, theirs.rpn.anchor_generator),
            (ours.roi_heads, theirs.roi_heads),
        ]
        assert ours.roi_heads.box_roi_pool.output_size == theirs.roi_heads.box_roi_pool.output_size
        assert ours.roi_heads.box_roi_pool.sampling_ratio == theirs.roi_heads.box_roi_pool.sampling_ratio
    else:
        pairs.append((ours.anchor_generator, theirs.anchor_generator))
    for one, other in pairs:
        assert plain(one) == plain(other)


def plain(holder: object) -> dict[str, Any]:
    """The numbers in a module and in the plain objects that it holds."""
    found: dict[str, Any] = {}
    for name, value in vars(holder).items():
        if name.startswith("_") and name not in ("_pre_nms_top_n", "_post_nms_top_n"):
            continue
        if isinstance(value, list | tuple) and not any(isinstance(item, torch.Tensor) for item in value):
            found[name] = [list(item) if isinstance(item, tuple | list) else item for item in value]
        elif isinstance(value, int | float | dict | str):
            found[name] = value
        elif type(value).__module__ == "torchvision.models.detection._utils":
            found[name] = plain(value)
    return {name: value for name, value in found.items() if name not in ("training", "archc_graph")}


@pytest.mark.parametrize("name", ALL)
def test_what_is_built_is_torchvisions_class_with_weights_from_the_seed(name: str) -> None:
    model = archc.build(name, seed=3)
    assert type(model) is (SSD if "ssd" in name else FasterRCNN)
    assert model.training
    again, other = archc.build(name, seed=3).state_dict(), archc.build(name, seed=4).state_dict()
    assert list(again) == list(model.state_dict())
    assert all(torch.equal(value, again[key]) for key, value in model.state_dict().items())
    assert any(not torch.equal(value, other[key]) for key, value in again.items())
    meta = archc.build(name, device="meta")
    assert all(value.is_meta for value in meta.state_dict().values())
    assert {key: value.shape for key, value in meta.state_dict().items()} == {k: v.shape for k, v in again.items()}


def test_initial_weights_are_spread_as_torchvisions() -> None:
    """Standard deviations of every layer with more than 2,000 numbers, and the biases that start at zero."""
    for name in LIGHT:
        torch.manual_seed(0)
        theirs = PEERS[name]().state_dict()
        ours = named(archc.build(name, seed=0), "torchvision")
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            if value.ndim > 1 and value.numel() > 2000:
                assert ours[key].std().item() == pytest.approx(value.std().item(), rel=0.1), key
            elif key.endswith("bias") and "box_head" not in key and "box_predictor" not in key:
                assert torch.equal(ours[key], value), key


@pytest.mark.parametrize("name", ["fasterrcnn_mnv3_large_320_fpn", "ssdlite_mobilevit_s"])
@torch.inference_mode()
def test_copies_and_files_predict_the_same(name: str, tmp_path: Path) -> None:
    model = archc.build(archc.load(name, thresholds(name)), seed=0).eval()
    image = photographs()[1]
    expected = model([image])[0]
    assert len(expected["scores"]) > 5
    torch.save(model, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    buffer = io.BytesIO(pickle.dumps(model))
    for twin in (copy.deepcopy(model), loaded, pickle.load(buffer)):
        assert all(torch.equal(value, expected[key]) for key, value in twin([image])[0].items())
    archc.save_weights(loaded, tmp_path / "weights.safetensors")
    fresh = archc.build(archc.load(name, thresholds(name)), device="meta")
    archc.load_weights(fresh, tmp_path / "weights.safetensors")
    assert all(torch.equal(value, expected[key]) for key, value in fresh.eval()([image])[0].items())


def thresholds(name: str) -> list[str]:
    """Overrides under which untrained networks find something."""
    return [] if "ssd" in name else ["detector.box.score_thresh=0", "detector.rpn.score_thresh=0"]


@torch.inference_mode()
def test_knobs_do_what_they_say() -> None:
    model = archc.build(archc.load(LIGHT[0], [*thresholds(LIGHT[0]), "detector.box.detections_per_img=7"]), seed=0)
    assert len(model.eval()([photographs()[1]])[0]["scores"]) == 7
    sizes: list[Any] = []
    model.backbone.register_forward_hook(lambda _, inputs, __: sizes.append(inputs[0].shape))
    model([photographs()[1]])
    assert sizes[0][-2:] == (320, 512)  # 300×451: the shorter side to 320, then padded to multiples of 32
    ssd = archc.build(archc.load(LIGHT[1], ["input.size=[256,192]", "num_classes=4"]), seed=0).eval()
    ssd.backbone.register_forward_hook(lambda _, inputs, __: sizes.append(inputs[0].shape))
    assert set(ssd([photographs()[1]])[0]["labels"].tolist()) <= {1, 2, 3}
    assert sizes[1][-2:] == (256, 192)


def test_a_single_level() -> None:
    """Without a pyramid: one output comes as a tensor, which torchvision calls level 0."""
    spec: dict[str, Any] = {
        "name": "one", "input": {"size": 64}, "num_classes": 3,
        "stages": {"c1": [{"block": "conv", "out": 8, "stride": 8}]},
        "detector": {"kind": "faster_rcnn", "resize": {"min_size": 64}, "anchors": {"sizes": [16]},
                     "box": {"hidden": [12], "score_thresh": 0.0, "levels": ["c1"]}},
    }  # fmt: skip
    model = archc.build(spec, seed=0).eval()
    assert len(model([torch.rand(3, 70, 90)])[0]["boxes"]) > 5
    wanted = [{"boxes": torch.tensor([[5.0, 5, 40, 40]]), "labels": torch.tensor([1])}]
    assert len(model.train()([torch.rand(3, 70, 90)], wanted)) == 4


@torch.inference_mode()
def test_a_detectors_predictions_are_those_of_its_plain_network() -> None:
    """torchvision's post-processing gets from the whole detector what the plain network returns, to the bit."""
    torchs = builder("torch")
    for name in LIGHT:
        model = archc.build(name, seed=0).eval()
        graph = torchs.graph_of(model)
        assert graph is not None
        plain = archc.build(raw(graph), seed=1).eval()
        keys = {key for key, _ in raw(graph).tensors()}
        torchs.write(plain, {key: value for key, value in torchs.read(model).items() if key in keys})
        image = torch.rand(1, 3, 320, 320, generator=torch.Generator().manual_seed(0))
        levels, found = model.backbone(image), plain(image)
        if isinstance(model, FasterRCNN):
            objectness, deltas = model.rpn.head(list(levels.values()))
            predicted = {f"objectness_{level}": value for level, value in zip(levels, objectness, strict=True)}
            predicted |= {f"deltas_{level}": value for level, value in zip(levels, deltas, strict=True)} | levels
        else:
            predicted = {
                f"{kind}_{level}": head(levels[level])
                for kind in ("classification", "regression")
                for level, head in zip(levels, getattr(model.head, f"{kind}_head").module_list, strict=True)
            }
        assert predicted.keys() == found.keys()
        assert all(torch.equal(value, found[key]) for key, value in predicted.items())


def test_names_in_the_state_dict() -> None:
    names = {
        "fasterrcnn_mnv3_large_320_fpn": {
            "stem.0.conv.weight": "backbone.stem.0.conv.weight",
            "rpn.0.conv.0.conv.weight": "rpn.head.level.conv.0.conv.weight",
            "rpn.0.deltas.bias": "rpn.head.level.deltas.bias",
            "roi_heads.fc6.0.linear.weight": "roi_heads.box_head.fc6.0.linear.weight",
            "roi_heads.scores.0.linear.bias": "roi_heads.box_predictor.scores.linear.bias",
        },
        "ssdlite320_mnv3_large": {
            "extra.2.reduce.conv.weight": "backbone.extra.2.reduce.conv.weight",
            "regression.3.predict.conv.bias": "head.regression_head.module_list.3.predict.conv.bias",
        },
        "ssdlite_mobilevit_s": {"joint.5.predict.conv.bias": "head.joint_head.module_list.5.predict.conv.bias"},
    }
    for name, some in names.items():
        graph = archc.lower(archc.load(name))
        found = paths(graph)
        assert list(found) == [key for key, _ in graph.tensors()]
        assert {key: found[key] for key in some} == some
        module = archc.build(graph, device="meta").state_dict()
        assert set(found.values()) == {key for key in module if not key.endswith("num_batches_tracked")}


def test_a_graph_that_makes_no_detector_is_told() -> None:
    graph = archc.lower(archc.load(LIGHT[1]))
    outputs = {name: node for name, node in graph.outputs.items() if name != "regression_2"}
    crossed = {**graph.outputs, "regression_2": graph.outputs["regression_1"]}
    faster = archc.lower(archc.load(LIGHT[0]))
    for broken, message in [
        (replace(graph, outputs=outputs), "there is no output `regression_2`"),
        (
            replace(graph, outputs=crossed),
            "`regression_2` comes from `regression.1`, which does not read level `2` alone",
        ),
        (
            replace(graph, levels=dict(list(graph.levels.items())[:5])),
            "belongs neither to the backbone nor to the head",
        ),
        (replace(faster, calls=()), "its heads on proposals are missing"),
        (replace(faster, detector=None), "heads on proposals, but no detector"),
    ]:
        with pytest.raises(archc.SpecError, match=rf"unsupported-op.*{message}"):
            archc.build(broken, device="meta")


@torch.inference_mode()
def test_rows_that_share_a_module_may_be_asked_for_different_parts() -> None:
    whole = raw(archc.lower(archc.load(LIGHT[0])))
    some = {name: whole.outputs[name] for name in ("deltas_1", "objectness_0", "0")}
    some["inside"] = "rpn.1.conv.0.act"
    state = builder("torch").read(archc.build(whole, seed=0))
    image = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    model, full = archc.build(replace(whole, outputs=some), state=state).eval(), archc.build(whole, state=state).eval()
    found, expected = model(image), full(image)
    assert list(found) == list(some)
    assert all(torch.equal(found[name], expected[name]) for name in some if name != "inside")
    assert torch.equal(found["inside"], full.rpn[0].conv(expected["1"]))


def test_a_row_that_shares_weights_but_not_operations_is_told() -> None:
    graph = raw(archc.lower(archc.load(LIGHT[0])))
    twin = graph.region["rpn.1"]
    nodes = {node.name: node for node in twin.subgraph.nodes}
    act = nodes["conv.0.act"]
    nodes["conv.0.act"] = act._replace(op=replace(act.op, function="silu"))
    odd = replace(twin, subgraph=replace(twin.subgraph, nodes=tuple(nodes.values())))
    broken = replace(graph, regions=tuple(odd if region is twin else region for region in graph.regions))
    with pytest.raises(archc.SpecError, match=r"row `rpn\.1` shares the weights of `rpn\.0`, but not its operations"):
        archc.build(broken)


def test_levels_that_share_a_head_call_one_module() -> None:
    graph = raw(archc.lower(archc.load(LIGHT[0])))
    model = archc.build(graph, device="meta")
    assert list(dict(model.rpn.named_children())) == ["0"]
    assert len(graph.levels) == 3
    calls: list[torch.Size] = []
    model.rpn[0].register_forward_hook(lambda _, inputs, __: calls.append(inputs[0].shape[-2:]))
    model.eval()(torch.zeros(1, *graph.input.shape, device="meta"))
    assert calls == [torch.Size(graph.shapes()[node][1:]) for node in graph.levels.values()]


@pytest.mark.parametrize("name", [pytest.param(LIGHT[0], marks=pytest.mark.slow), LIGHT[1]])
def test_an_epoch_of_training_lowers_the_loss(name: str) -> None:
    """Eight crops of photographs with one bright square in each, seen in pairs, twice over."""
    model = archc.build(archc.load(name, ["num_classes=2", *SMALLER.get(name, [])]), seed=0)
    images, wanted = squares()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.005, momentum=0.9)
    torch.manual_seed(0)
    losses: list[float] = []
    for _ in range(2):
        total = 0.0
        for start in range(0, len(images), 2):
            loss = sum(model(images[start : start + 2], wanted[start : start + 2]).values(), torch.tensor(0.0))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item()
        losses.append(total)
    assert losses[1] < 0.9 * losses[0]


SMALLER = {"fasterrcnn_mnv3_large_320_fpn": ["detector.resize.min_size=192", "norm.kind=batch"]}


def squares() -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    images, wanted = [], []
    for number in range(8):
        image = photographs()[number % 3][:, 20:212, 20:212].clone()
        x, y = (int(torch.randint(0, 110, (), generator=generator)) for _ in range(2))
        image[:, y : y + 70, x : x + 70] = 1.0
        images.append(image)
        box = torch.tensor([[float(x), float(y), x + 70.0, y + 70.0]])
        wanted.append({"boxes": box, "labels": torch.tensor([1])})
    return images, wanted
