"""Segmentation networks against torchvision's and transformers': prices, outputs, names, initialisation, training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models as tv
from safetensors.torch import load_file
from skimage import data
from torch import nn
from torchvision.models import segmentation as tvs
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.fcn import FCN, FCNHead

import archc
from archc.backends.torch.modules import ResizeLike
from tests.analysis.counters import macs, parameters
from tests.backends.torch.peers import shake


def fcn_mobilenet_v3_large() -> nn.Module:
    """torchvision's FCN on the layers that its DeepLabV3 taps; it publishes no such network itself."""
    backbone = IntermediateLayerGetter(tv.mobilenet_v3_large(dilated=True).features, {"4": "aux", "16": "out"})
    return FCN(backbone, FCNHead(960, 21), FCNHead(40, 21))


PEERS: dict[str, Callable[[], nn.Module]] = {
    "lraspp_mnv3_large": lambda: tvs.lraspp_mobilenet_v3_large(weights_backbone=None),
    "deeplabv3_mnv3_large": lambda: tvs.deeplabv3_mobilenet_v3_large(weights_backbone=None, aux_loss=True),
    "fcn_mnv3_large": fcn_mobilenet_v3_large,
    "deeplabv3_resnet50": lambda: tvs.deeplabv3_resnet50(weights_backbone=None, aux_loss=True),
    "fcn_resnet50": lambda: tvs.fcn_resnet50(weights_backbone=None, aux_loss=True),
}
PUBLISHED: dict[str, Any] = {
    "lraspp_mnv3_large": tvs.LRASPP_MobileNet_V3_Large_Weights.DEFAULT,
    "deeplabv3_mnv3_large": tvs.DeepLabV3_MobileNet_V3_Large_Weights.DEFAULT,
    "deeplabv3_resnet50": tvs.DeepLabV3_ResNet50_Weights.DEFAULT,
    "fcn_resnet50": tvs.FCN_ResNet50_Weights.DEFAULT,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_prices_are_those_that_torchvision_publishes(name: str) -> None:
    report, published = archc.report(name), PUBLISHED[name].meta
    assert report.params == published["num_params"]
    assert f"{report.macs / 1e9:.3f}" == f"{published['_ops']:.3f}"


@pytest.mark.parametrize("name", PEERS)
def test_prices_are_torchs_count(name: str) -> None:
    with torch.device("meta"):
        peer = PEERS[name]()
    for height, width in [(520, 520), (321, 449)]:
        report = archc.report(archc.load(name).override({"input.size": [height, width]}))
        assert (report.params, report.macs) == (parameters(peer), macs(peer, height, width))


def test_the_auxiliary_head_can_be_left_out() -> None:
    with torch.device("meta"):
        peer = tvs.deeplabv3_mobilenet_v3_large(weights_backbone=None)
    report = archc.report(archc.load("deeplabv3_mnv3_large", ["~outputs.aux"]))
    assert (report.params, report.macs) == (parameters(peer), macs(peer, 520)) == (11_025_477, report.macs)


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    peer = shake(PEERS[name]()).eval()
    ours = archc.build(name, device="meta")
    assert archc.load_weights(ours, peer.state_dict()).source == "torchvision"
    return ours.eval(), peer


@pytest.mark.parametrize("name", PEERS)
def test_outputs_are_bit_identical_to_torchvisions(name: str) -> None:
    ours, peer = pair(name)
    sizes = [(129, 202)] if "resnet" in name else [(520, 520), (129, 202)]
    for size in sizes:
        image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            actual, expected = ours(image), peer(image)
        assert list(actual) == list(expected)
        for key, value in expected.items():
            assert value.shape == (1, 21, *size)
            assert torch.equal(actual[key], value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deeplabv3_resnet50", "fcn_resnet50"])
def test_outputs_are_bit_identical_to_torchvisions_at_520(name: str) -> None:
    ours, peer = pair(name)
    image = torch.randn(1, 3, 520, 520, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        actual, expected = ours(image), peer(image)
    assert all(torch.equal(actual[key], value) for key, value in expected.items())


def apple() -> nn.Module:
    """DeepLabV3 on MobileViT-S in transformers, as its published configuration has it."""
    transformers = pytest.importorskip("transformers", reason="the test extra has it")
    config = transformers.MobileViTConfig(num_labels=21, output_stride=16)
    model: nn.Module = transformers.MobileViTForSemanticSegmentation(config)
    return shake(model).eval()


def test_deeplabv3_mobilevit_is_transformers() -> None:
    torch.manual_seed(0)
    peer, ours = apple(), archc.build("deeplabv3_mobilevit_s", device="meta").eval()
    report = archc.load_weights(ours, peer.state_dict())
    assert (report.source, report.naming, report.pruned) == ("transformers", "mobilevit", ())
    assert archc.report("deeplabv3_mobilevit_s").params == parameters(peer)
    for size in [(512, 512), (129, 202)]:
        image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            scores = peer(image).logits
            expected = nn.functional.interpolate(scores, size=size, mode="bilinear", align_corners=False)
            actual = ours(image)["out"]
        assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_deeplabv3_mobilevit_drops_what_transformers_drops() -> None:
    layers = list(archc.build("deeplabv3_mobilevit_s", device="meta").head.modules())  # type: ignore[union-attr]
    theirs = list(apple().segmentation_head.modules())  # type: ignore[union-attr]
    for kind in (nn.Dropout, nn.Dropout2d):
        ours = [layer.p for layer in layers if type(layer) is kind]
        assert ours == [layer.p for layer in theirs if type(layer) is kind] == [0.1]


@pytest.mark.parametrize("name", ["lraspp_mnv3_large", "deeplabv3_mnv3_large", "fcn_resnet50"])
def test_out_into_torchvisions_names(name: str, tmp_path: Path) -> None:
    model = shake(archc.build(name, seed=0))
    archc.save_weights(model, tmp_path / "out.safetensors", "torchvision")
    state = load_file(tmp_path / "out.safetensors")
    PEERS[name]().load_state_dict(state, strict=True)
    again = archc.build(name, device="meta")
    archc.load_weights(again, state)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())


def test_a_classifiers_weights_are_a_segmenters_backbone() -> None:
    torch.manual_seed(0)
    peer, ours = tv.mobilenet_v3_large(), archc.build("deeplabv3_mnv3_large", seed=0)
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    report = archc.load_weights(ours, peer.state_dict(), partial=["head", "aux"])
    assert {name.partition(".")[0] for name in report.left} == {"head", "aux"}
    assert {name.partition(".")[0] for name in report.skipped} == {"classifier"}
    state, theirs = ours.state_dict(), peer.state_dict()
    assert torch.equal(state["stem.0.conv.weight"], theirs["features.0.0.weight"])
    assert torch.equal(state["c5.3.norm.running_var"], theirs["features.16.1.running_var"])
    assert all(torch.equal(state[key], before[key]) for key in state if key.startswith(("head.", "aux.")))


def test_the_auxiliary_head_of_a_checkpoint_is_not_needed_without_it() -> None:
    state = PEERS["deeplabv3_mnv3_large"]().state_dict()
    ours = archc.build(archc.load("deeplabv3_mnv3_large", ["~outputs.aux"]))
    report = archc.load_weights(ours, state)
    assert {name.partition(".")[0] for name in report.pruned} == {"aux_classifier"}


def test_another_number_of_classes_is_named() -> None:
    state = PEERS["lraspp_mnv3_large"]().state_dict()
    with pytest.raises(archc.WeightsError, match="num_classes=21"):
        archc.load_weights(archc.build(archc.load("lraspp_mnv3_large", ["num_classes=19"])), state)


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize("name", ["lraspp_mnv3_large", "deeplabv3_resnet50"])
def test_heads_start_as_torchvisions(name: str) -> None:
    torch.manual_seed(0)
    ours, theirs = convolutions(archc.build(name, seed=0).head), convolutions(PEERS[name]().classifier)  # type: ignore[arg-type]
    assert len(ours) == len(theirs) > 0
    with torch.no_grad():
        for mine, peer in zip(ours, theirs, strict=True):
            assert mine.weight.shape == peer.weight.shape
            # Of thousands of uniform draws, the largest tells the bound.
            assert float(mine.weight.abs().max()) == pytest.approx(float(peer.weight.abs().max()), rel=0.02)
            assert (mine.bias is None) == (peer.bias is None)
            if mine.bias is not None:
                assert 0.2 < float(mine.bias.abs().mean() / mine.weight.abs().max()) < 0.8  # uniform within the same


def test_a_rows_own_initialisation_is_its_alone() -> None:
    spec = archc.load("mnv3_small", ["+stages.c5.3.init={conv:{normal:3.0},residual_norm:zeros}"])
    model = archc.build(spec, seed=0)
    assert float(model.c5[3].conv.weight.detach().std()) == pytest.approx(3.0, rel=0.02)  # type: ignore[index, union-attr]
    other = archc.build("mnv3_small", seed=0)
    assert torch.equal(model.stem[0].conv.weight, other.stem[0].conv.weight)  # type: ignore[index, union-attr]
    zeroed = archc.build(archc.load("mnv3_small", ["+stages.c5.1.init.residual_norm=zeros"]), seed=0)
    gains = [float(row.project.norm.weight.detach().max()) for row in zeroed.c5[:3]]  # type: ignore[index, union-attr]
    assert gains == [1.0, 0.0, 1.0]


def test_one_epoch_on_a_few_pictures_lowers_the_loss() -> None:
    pictures = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    tensors = [torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 255 for picture in pictures]
    batches = torch.stack([nn.functional.interpolate(t[None], size=(96, 96), mode="bilinear")[0] for t in tensors])
    labels = (batches.mean(1) > batches.mean((1, 2, 3))[:, None, None]).long()  # bright and dark
    images = (batches - 0.45) / 0.225
    model = archc.build(archc.load("deeplabv3_mnv3_large", ["num_classes=2", "width_mult=0.35"]), seed=0).train()
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def loss() -> torch.Tensor:
        # torchvision's references/segmentation: the main loss, and half of the auxiliary one.
        outputs = model(images)
        main, auxiliary = (nn.functional.cross_entropy(outputs[key], labels) for key in ("out", "aux"))
        return main + 0.5 * auxiliary

    first = loss()
    value = first
    for _ in range(10):
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        value = loss()
    assert float(value) < 0.85 * float(first)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"block": "lraspp", "from": "c1", "out": 3}, "takes 2 inputs, not 1"),
        ({"block": "lraspp", "from": {"low": "stem", "hihg": "c1"}, "out": 3}, "`from` must name low and high"),
        ({"block": "deeplab_v3", "out": 3}, "rates"),
        ({"block": "deeplab_v3", "out": 3, "rates": []}, "rates"),
        ({"block": "deeplab_v3", "out": 3, "rates": [0]}, "rates"),
        ({"block": "deeplab_v3", "out": "2x", "rates": [6]}, "out"),
        ({"block": "fcn", "out": 3, "from": "vector"}, "image"),
    ],
)
def test_what_a_head_refuses(row: dict[str, Any], says: str) -> None:
    stages = {
        "stem": [{"block": "conv", "out": 8, "stride": 2}],
        "c1": [{"block": "conv", "out": 16, "stride": 2}],
        "vector": [{"block": "pool"}, {"block": "linear", "out": 4}],
        "head": [{"from": "c1", **row}],
    }
    with pytest.raises(archc.SpecError, match=says):
        archc.lower(archc.load({"name": "net", "stages": stages}))


def test_more_rates_more_branches_and_any_size() -> None:
    model = archc.build(archc.load("deeplabv3_mnv3_large", ["stages.head.0.rates=[6,12,18,24]", "width_mult=0.35"]))
    assert len(model.head[0].aspp.branches) == 6  # type: ignore[index, union-attr, arg-type]
    assert sum(isinstance(layer, ResizeLike) for layer in model.modules()) == 3
    with torch.inference_mode():
        assert model.eval()(torch.zeros(2, 3, 65, 33))["out"].shape == (2, 21, 65, 33)
