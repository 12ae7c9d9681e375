"""Weights of the installed libraries, through `load_weights`: same weights in, same numbers out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import archc
from tests.backends.torch.peers import shake
from tests.backends.torch.test_parity import BIT_IDENTICAL, CLOSE

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
