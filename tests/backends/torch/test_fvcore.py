"""fvcore on the compiled module agrees with fvcore on torchvision's, operator by operator."""

from __future__ import annotations

import logging

import pytest
import torch
import torchvision.models as tv
from fvcore.nn import FlopCountAnalysis
from torch import nn

import archc


def count(module: nn.Module, size: int) -> dict[str, float]:
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(module.eval(), torch.zeros(1, 3, size, size))
    return dict(analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_operator())


@pytest.mark.parametrize(
    ("spec", "overrides", "peer"),
    [
        ("mnv3_large", [], tv.mobilenet_v3_large),
        ("mnv3_small", ["width_mult=0.75"], lambda: tv.mobilenet_v3_small(width_mult=0.75)),
        ("mobilenet_v2", [], tv.mobilenet_v2),
        ("resnet50", [], tv.resnet50),
    ],
)
def test_fvcore_agrees(spec: str, overrides: list[str], peer: object) -> None:
    assert callable(peer)
    assert count(archc.build(archc.load(spec, overrides)), 224) == count(peer(), 224)
