"""Files of weights of rewritten networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn

import archc
from tests.backends.torch.peers import shake

INFERENCE = ["inference"]


@pytest.fixture(params=["mnv3_small", "ssdlite320_mnv3_large"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def built(name: str, seed: int, transforms: list[str]) -> Any:
    return archc.build(name, seed=seed, transforms=transforms)


def equal(ours: nn.Module, theirs: nn.Module) -> bool:
    mine, others = ours.state_dict(), theirs.state_dict()
    return list(mine) == list(others) and all(torch.equal(mine[key], others[key]) for key in mine)


def test_a_rewritten_network_is_saved_and_loaded_as_any_other(name: str, tmp_path: Path) -> None:
    network = built(name, 0, INFERENCE)
    file = tmp_path / "deployed.safetensors"
    archc.save_weights(network, file)
    with safe_open(file, "pt") as opened:
        assert opened.metadata()["archc_transforms"] == "inference"
    again = built(name, 1, INFERENCE)
    assert not equal(again, network)
    archc.load_weights(again, file)
    assert equal(again, network)


def test_trained_weights_are_rewritten_on_the_way(name: str, tmp_path: Path) -> None:
    trained = shake(built(name, 0, []))
    file = tmp_path / "trained.safetensors"
    archc.save_weights(trained, file)
    deployed = built(name, 1, INFERENCE)
    archc.load_weights(deployed, file)
    state = archc.backends.get("torch").read(trained)
    assert equal(deployed, archc.build(name, state=state, transforms=INFERENCE))


@pytest.mark.parametrize("transforms", [[], ["fold_norms"]])
def test_rewritten_weights_fit_only_a_network_that_was_rewritten_so(
    name: str, tmp_path: Path, transforms: list[str]
) -> None:
    file = tmp_path / "deployed.safetensors"
    archc.save_weights(built(name, 0, INFERENCE), file)
    other, untouched = built(name, 1, transforms), built(name, 1, transforms)
    with pytest.raises(archc.WeightsError, match="its transforms are inference, here"):
        archc.load_weights(other, file)
    assert equal(other, untouched)
