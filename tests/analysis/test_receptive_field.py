"""Receptive fields against gradients: what an output pixel's gradient reaches is what it sees."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import archc

NETWORKS: dict[str, list[dict[str, Any]]] = {
    "plain": [{"block": "conv", "out": 4, "kernel": 3}, {"block": "conv", "out": 4, "kernel": 5}],
    "strided": [
        {"block": "conv", "out": 4, "kernel": 3, "stride": 2},
        {"block": "conv", "out": 4, "kernel": 3},
        {"block": "pool", "kind": "max", "kernel": 3, "stride": 2},
        {"block": "conv", "out": 4, "kernel": 3},
    ],
    "dilated": [
        {"block": "conv", "out": 4, "kernel": 3, "stride": 2},
        {"block": "conv", "out": 4, "kernel": 3, "dilation": 3},
    ],
    "oblong": [{"block": "conv", "out": 4, "kernel": [1, 5]}, {"block": "conv", "out": 4, "kernel": [3, 1]}],
    "residual": [
        {"block": "conv", "out": 8, "kernel": 3},
        {"block": "inverted_residual", "expand": "2x", "out": 8, "kernel": 5},
        {"block": "bottleneck", "expand": 8, "out": 16, "stride": 2},
        {"block": "inverted_residual", "expand": "2x", "out": 16, "stride": 2},
    ],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_covers_the_receptive_field(name: str) -> None:
    spec = archc.load({"name": "net", "input": {"size": 129}, "act": "sigmoid", "stages": {"c": NETWORKS[name]}})
    field = archc.report(spec).stages[-1].field
    module = archc.build(spec, seed=0, dtype=torch.float64).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_().clamp_(min=0.05)  # so that paths cannot cancel
    image = torch.zeros(1, 3, 129, 129, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        image += torch.rand_like(image) * 1e-3
    output = module(image)
    _, _, height, width = output.shape
    output[0, :, height // 2, width // 2].sum().backward()
    assert image.grad is not None
    reached = image.grad.abs().sum(dim=(0, 1)) > 0
    rows, columns = reached.any(dim=1).nonzero().flatten(), reached.any(dim=0).nonzero().flatten()
    extent = (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1)
    if "pool" in str(NETWORKS[name]):  # a maximum passes the gradient of one of its pixels only
        assert all(seen <= full for seen, full in zip(extent, field[:2], strict=True))
        assert (field.height, field.stride) == (3 + 2 * 2 + 2 * 2 + 2 * 4, 4)
    else:
        assert extent == (field.height, field.width)
    assert field.stride == -(-129 // height)


def test_global_operations_see_everything() -> None:
    report = archc.report("mobilevit_xxs")
    by_name = {part.name: part.field for part in report.stages}
    assert by_name["c2"].height is not None
    assert (by_name["c3"].height, by_name["c3"].width, by_name["c3"].stride) == (None, None, 8)


def test_a_gate_does_not_widen_the_field() -> None:
    rows = [{"block": "inverted_residual", "expand": "4x", "out": 8, "kernel": 5, "se": True}]
    spec = archc.load({"name": "net", "input": {"size": 32}, "stages": {"c": rows}})
    assert archc.report(spec).stages[-1].field[:2] == (5, 5)
