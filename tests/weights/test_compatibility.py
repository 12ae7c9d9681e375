"""A checkpoint held against the wrong spec: the report names the rows, and the difference that explains them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product

import pytest
import timm
import torch
import torchvision.models as tv
from torch import Tensor, nn

import archc
from archc.blocks.lower import lower
from archc.weights.error import WeightsWarning
from tests.weights.conftest import shapes_of

# name: the spec, its overrides, and the peer that has these weights
NETWORKS: dict[str, tuple[str, list[str], Callable[[], nn.Module]]] = {
    "large": ("mnv3_large", [], lambda: tv.mobilenet_v3_large()),
    "large 0.75": ("mnv3_large", ["width_mult=0.75"], lambda: tv.mobilenet_v3_large(width_mult=0.75)),
    "large tail": ("mnv3_large", ["reduced_tail=true"], lambda: tv.mobilenet_v3_large(reduced_tail=True)),
    "small": ("mnv3_small", [], lambda: tv.mobilenet_v3_small()),
    "small 0.75": ("mnv3_small", ["width_mult=0.75"], lambda: tv.mobilenet_v3_small(width_mult=0.75)),
    "small tail": ("mnv3_small", ["reduced_tail=true"], lambda: tv.mobilenet_v3_small(reduced_tail=True)),
    "small 21": ("mnv3_small", ["num_classes=21"], lambda: tv.mobilenet_v3_small(num_classes=21)),
    "timm large 0.75": ("timm_mnv3_large", ["width_mult=0.75"], lambda: timm.create_model("mobilenetv3_large_075")),
    "timm small 0.75": ("timm_mnv3_small", ["width_mult=0.75"], lambda: timm.create_model("mobilenetv3_small_075")),
    "timm small 0.5": ("timm_mnv3_small", ["width_mult=0.5"], lambda: timm.create_model("mobilenetv3_small_050")),
}


@cache
def checkpoint(name: str) -> dict[str, Tensor]:
    return shapes_of(NETWORKS[name][2])


def refused(spec: str, overrides: list[str], state: dict[str, Tensor]) -> archc.Diagnostic:
    model = archc.build(archc.load(spec, overrides), device="meta")
    with pytest.raises(archc.WeightsError) as caught:
        archc.load_weights(model, state)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.id == "weights-mismatch"
    assert len(diagnostic.notes) > 1
    return diagnostic


def defaults(name: str) -> dict[str, str]:
    given = dict(override.split("=") for override in NETWORKS[name][1])
    return {"width_mult": "1.0", "reduced_tail": "false", "num_classes": "1000", **given}


PAIRS = [pytest.param(*pair, id=" in ".join(pair)) for pair in product(NETWORKS, repeat=2) if pair[0] != pair[1]]


@pytest.mark.parametrize(("weights", "target"), PAIRS)
def test_every_wrong_pairing_is_told_by_its_true_difference(weights: str, target: str) -> None:
    spec, overrides, _ = NETWORKS[target]
    help = refused(spec, overrides, checkpoint(weights)).help
    fitting = NETWORKS[weights][0]
    theirs, ours = defaults(weights), defaults(target)
    if fitting == spec:
        changes = [f"{key}={theirs[key]}" for key in theirs if theirs[key] != ours[key]]
        named = ""
    else:
        changes = NETWORKS[weights][1]
        named = f"fits `{' '.join([fitting, *changes])}`"
    assert named in help
    quoted = help.split("`")[1].split()
    assert sorted(change for change in quoted if "=" in change) == sorted(changes)
    ratio = [name.startswith("timm") for name in (fitting, spec)]
    if fitting.removeprefix("timm_") == spec.removeprefix("timm_"):
        assert ("made with ratio expansions" in help) == (ratio == [True, False])
        assert ("made with absolute expansions" in help) == (ratio == [False, True])


def test_the_rows_that_differ_are_told_with_both_shapes() -> None:
    diagnostic = refused("mnv3_small", [], checkpoint("small 0.75"))
    first = "c3.0: `expand.conv.weight` is [72, 16, 1, 1] here, [56, 16, 1, 1] in the checkpoint"
    assert diagnostic.notes[1].startswith(first)
    assert diagnostic.message.endswith("13 of 15 rows differ")
    assert diagnostic.span is not None
    assert diagnostic.span.source.line(diagnostic.span.line).strip() == "- [3,  72, 24, false, relu,      2]"


@pytest.mark.parametrize(
    ("spec", "overrides", "peer", "expected"),
    [
        ("resnet50", [], lambda: tv.resnet101(), "with `stages.c4.0.repeat=23`"),
        ("mobilenet_v2", [], lambda: tv.mobilenet_v2(width_mult=1.4), "with `width_mult=1.4`"),
        ("mobilevit_s", [], lambda: timm.create_model("mobilevit_xxs"), "fits `mobilevit_xxs`"),
        ("efficientnet_lite0", [], lambda: timm.create_model("mobilenetv2_100"), "fits `mobilenet_v2`"),
        ("mnv3_large", [], lambda: timm.create_model("mobilenetv3_small_100"), "fits `timm_mnv3_small`"),
        ("mnv3_large", ["width_mult=0.75"], lambda: timm.create_model("mobilenetv3_large_100"), "`timm_mnv3_large`"),
        ("mnv3_small", [], lambda: tv.mobilenet_v3_large(num_classes=7), "fits `mnv3_large num_classes=7`"),
    ],
)
def test_other_differences_are_named_too(
    spec: str, overrides: list[str], peer: Callable[[], nn.Module], expected: str
) -> None:
    assert expected in refused(spec, overrides, shapes_of(peer)).help


def test_efficientnet_lites_are_told_apart_by_width_and_depth() -> None:
    help = refused("efficientnet_lite0", [], shapes_of(lambda: timm.create_model("tf_efficientnet_lite4"))).help
    assert "width_mult=1.4 depth_mult=1.8" in help


def test_single_rows_that_somebody_changed_are_found() -> None:
    changes = ["stages.c2.0.se=false", "stages.c3.1.out=32", "stages.c4.1.expand=200", "stages.c4.2.kernel=3"]
    state = archc.build(archc.load("mnv3_small", changes), device="meta").state_dict()
    assert f"with `{' '.join(changes)}`" in refused("mnv3_small", [], state).help


def test_a_network_that_nothing_explains_says_so() -> None:
    state = checkpoint("small") | {"features.3.block.1.0.weight": torch.empty(7, 7, 7, 7, device="meta")}
    assert "no bundled spec fits it either" in refused("mnv3_small", [], state).help


def test_few_networks_are_lowered_for_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates are told apart by their number of tensors and of numbers, before any is compared by name."""
    lowered: list[str] = []

    def counting(spec: archc.Spec) -> archc.Graph:
        lowered.append(spec.name)
        return lower(spec)

    monkeypatch.setattr("archc.weights.explaining.search.lower", counting)
    state = checkpoint("small") | {"features.3.block.1.0.weight": torch.empty(7, 7, 7, 7, device="meta")}
    assert "no bundled spec fits it either" in refused("mnv3_small", [], state).help
    assert len(lowered) < 80
    lowered.clear()
    assert "width_mult=0.75" in refused("mnv3_small", [], checkpoint("small 0.75")).help
    assert len(lowered) < 20


def test_tensors_without_a_place_are_listed() -> None:
    state = {**archc.build("mnv3_small", device="meta").state_dict(), "aux.fc.weight": torch.empty(3)}
    diagnostic = refused("mnv3_small", [], state)
    assert diagnostic.notes[-1] == "in the checkpoint, with no place here: `aux.fc` (1)"


def test_the_model_is_untouched_by_what_does_not_fit() -> None:
    model = archc.build("mnv3_small", seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {name: torch.zeros_like(value) for name, value in before.items()} | {"head.3.linear.bias": torch.zeros(21)}
    with pytest.raises(archc.WeightsError):
        archc.load_weights(model, state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("spec", "overrides", "peer", "hints"),
    [
        ("mnv3_large", [], lambda: timm.create_model("mobilenetv3_large_100"), ["norm.eps=1e-05", "norm.momentum=0.1"]),
        ("timm_mnv3_small", [], lambda: tv.mobilenet_v3_small(), ["norm.eps=0.001", "norm.momentum=0.01"]),
        ("mobilenet_v2", ["padding=same"], lambda: tv.mobilenet_v2(), ["padding=symmetric"]),
        (
            "mobilenet_v2",
            ["input.mean=0.5", "input.std=0.5", "input.channel_order=bgr"],
            lambda: tv.mobilenet_v2(),
            ["input.mean=[0.485,0.456,0.406]", "input.std=[0.229,0.224,0.225]", "input.channel_order=rgb"],
        ),
        ("mobilenet_v2", ["act=relu"], lambda: tv.mobilenet_v2(), [""]),
        (
            "efficientnet_lite0",
            ["norm.eps=1e-05"],
            lambda: timm.create_model("tf_efficientnet_lite0"),
            ["norm.eps=0.001"],
        ),
    ],
)
def test_policies_that_no_shape_shows_are_warned_of(
    spec: str, overrides: list[str], peer: Callable[[], nn.Module], hints: list[str]
) -> None:
    model = archc.build(archc.load(spec, overrides))
    with pytest.warns(WeightsWarning) as caught:
        report = archc.load_weights(model, peer().state_dict())
    assert len(caught) == len(report.warnings) == len(hints)
    for hint, warning in zip(hints, report.warnings, strict=True):
        assert (warning.id, warning.severity) == ("weights-policy", "warning")
        assert warning.help.startswith(f"`{hint}`" if hint else "")
        if hint:
            archc.load(spec, [*overrides, hint])  # it can be pasted


def test_a_files_name_tells_tensorflows_policy() -> None:
    from archc.weights.checkpoint import Checkpoint
    from archc.weights.explaining.policy import expectations
    from archc.weights.naming.schemes import of_library

    layout = of_library("timm")[0]
    assert [policy.name for policy in expectations(layout, Checkpoint({}, "tf_mobilenetv3.pth"))] == ["timm's tf_*"]
    assert len(expectations(layout, Checkpoint({}, "mobilenetv3.pth"))) == 2
