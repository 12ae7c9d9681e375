"""The named policies against the libraries they are named for: dilation, initial weights, stochastic depth."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision.models as tv
from torch import nn
from transformers import MobileViTConfig, MobileViTModel

import archc
from archc.backends.torch.modules import DropPath

from .peers import copy_in_order, shake


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("stride", [8, 16])
def test_after_strided_is_timms_mobilenet(stride: int) -> None:
    # timm changes the output stride of feature extractors only.
    peer = timm.create_model("mobilenetv3_large_100", features_only=True, output_stride=stride)
    shake(peer).eval()
    ours = archc.build(archc.load("timm_mnv3_large", [f"output_stride={stride}", "outputs=c5"])).eval()
    copy_in_order(peer, ours)
    image = torch.randn(1, 3, 97, 97)
    with torch.inference_mode():
        assert relative_error(ours(image), peer(image)[-1]) < 1e-5


@pytest.mark.parametrize("stride", [8, 16])
def test_after_strided_is_timms_mobilevit(stride: int) -> None:
    peer = shake(timm.create_model("mobilevit_xxs", output_stride=stride)).eval()
    ours = archc.build(archc.load("mobilevit_xxs", [f"output_stride={stride}", "dilation_policy=after_strided"])).eval()
    copy_in_order(peer, ours)
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        assert relative_error(ours(image), peer(image)) < 1e-5


@pytest.mark.parametrize("stride", [8, 16])
def test_none_in_vit_is_transformers_mobilevit(stride: int) -> None:
    sizes = {"hidden_sizes": [64, 80, 96], "neck_hidden_sizes": [16, 16, 24, 48, 64, 80, 320], "expand_ratio": 2.0}
    torch.manual_seed(0)
    peer = shake(MobileViTModel(MobileViTConfig(output_stride=stride, **sizes))).eval()
    overrides = [f"output_stride={stride}", "dilation_policy=none_in_vit", "outputs=c5"]
    ours = archc.build(archc.load("mobilevit_xxs", overrides)).eval()

    archc.load_weights(ours, peer.state_dict(), source="transformers")
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        expected = peer(image, return_dict=True).last_hidden_state
        assert relative_error(ours(image), expected) < 1e-5


def spreads(module: nn.Module) -> list[tuple[float, int]]:
    """The standard deviation of every convolution's and linear's weight, and how many numbers it is taken over."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [(float(layer.weight.detach().std()), layer.weight.numel()) for layer in layers]


@pytest.mark.parametrize(
    ("spec", "peer"),
    [
        ("mnv3_small", lambda: tv.mobilenet_v3_small()),
        ("mobilenet_v2", lambda: tv.mobilenet_v2()),
        ("resnet50", lambda: tv.resnet50()),
        ("timm_mnv3_small", lambda: timm.create_model("mobilenetv3_small_100")),
        ("efficientnet_lite0", lambda: timm.create_model("tf_efficientnet_lite0")),
    ],
)
def test_initial_weights_spread_as_the_peers(spec: str, peer: object) -> None:
    assert callable(peer)
    torch.manual_seed(0)
    for (mine, count), (theirs, _) in zip(spreads(archc.build(spec, seed=0)), spreads(peer()), strict=True):
        # The spread of a standard deviation over n draws is about 1/sqrt(2n); five of them are allowed on both sides.
        assert abs(mine / theirs - 1) < 10 / (2 * count) ** 0.5


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("kaiming_normal_fan_out", lambda w, groups: (2 / (w.shape[0] * w[0, 0].numel())) ** 0.5),
        ("kaiming_normal_fan_out_grouped", lambda w, groups: (2 * groups / (w.shape[0] * w[0, 0].numel())) ** 0.5),
        ("kaiming_uniform_fan_in", lambda w, groups: (1 / (3 * w[0].numel())) ** 0.5),
        ("uniform_fan_out", lambda w, groups: (groups / (3 * w.shape[0] * w[0, 0].numel())) ** 0.5),
        ("{normal: 0.3}", lambda w, groups: 0.3),
        ("{trunc_normal: 0.02}", lambda w, groups: 0.02),
    ],
)
def test_initialisers_have_the_spread_they_are_named_for(policy: str, expected: object) -> None:
    assert callable(expected)
    preprocessing = {"channels": 64, "mean": 0.5, "std": 0.5}
    rows = [{"block": "conv", "out": 64}, {"block": "conv", "out": 64, "groups": 4}]
    spec = archc.load({"name": "net", "input": preprocessing, "stages": {"c": rows}}, [f"init.conv={policy}"])
    module = archc.build(spec, seed=0)
    for row, groups in zip(module.c, (1, 4), strict=True):
        weight = row.conv.weight
        assert float(weight.detach().std()) == pytest.approx(expected(weight, groups), rel=0.03)
        assert abs(float(weight.detach().mean())) < 0.03 * float(weight.detach().std())


def test_zeroed_residual_norms() -> None:
    def zeroed(module: nn.Module, mark: str) -> list[str]:
        named = module.named_parameters()
        return [name for name, p in named if mark in name and "weight" in name and not p.detach().any()]

    mine = zeroed(archc.build(archc.load("resnet50", ["+init.residual_norm=zeros"]), seed=0), "norm")
    theirs = zeroed(tv.resnet50(zero_init_residual=True), "bn")
    assert len(mine) == len(theirs) == 16
    assert all(".expand.norm" in name for name in mine)


def rates(module: nn.Module, kind: type[nn.Module], attribute: str) -> list[float]:
    return [getattr(layer, attribute) for layer in module.modules() if isinstance(layer, kind)]


def test_linear_drop_path_is_timms() -> None:
    peer = timm.create_model("tf_efficientnet_lite0", drop_path_rate=0.2)
    blocks = [block for stage in peer.blocks for block in stage]
    theirs = [block.drop_path.drop_prob for block in blocks if block.has_skip and hasattr(block.drop_path, "drop_prob")]
    mine = [rate for rate in rates(archc.build("efficientnet_lite0"), DropPath, "rate") if rate]
    assert mine
    assert mine == pytest.approx(theirs)


def test_drop_path_drops_whole_images_and_keeps_the_mean() -> None:
    drop = DropPath(0.25).train()
    torch.manual_seed(0)
    out = drop(torch.ones(4000, 2, 2, 2))
    values = out.flatten(1)
    assert values.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert bool((values == values[:, :1]).all())
    assert float(out.mean()) == pytest.approx(1.0, abs=0.03)
    assert torch.equal(drop.eval()(out), out)
