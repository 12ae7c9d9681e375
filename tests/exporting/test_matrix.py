"""Every bundled spec in every target that can be run here: at its own size and an odd one, for one image and for three.

Also variants: swept widths, other activations, a child spec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import archc
from archc.backends import emitter
from archc.backends.protocol import raw
from archc.ir import Graph
from archc.ir.state import Array, State
from archc.runtimes import open_file
from tests.transforms.networks import initial, outputs

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow]  # `-m 'not slow'` replaces the default selection

CLOSE = 1.5e-5
"""The largest difference in float32, as a share of the output's largest number. All but `timm_mnv3_large` in LiteRT at
the odd size, 1.3e-5, are below 1e-5."""

TARGETS = ("onnx", "litert", "openvino")
TRACED = ("executorch", "torch")
"""What goes through torch.export takes half a minute to some minutes a network: a few networks of each kind."""
TRACED_SPECS = ("mnv3_small", "mobilevit_xxs", "efficientnet_lite0", "lraspp_mnv3_large")

VARIANTS: Mapping[str, tuple[str, Sequence[str]]] = {
    "narrow": ("mnv3_large", ["width_mult=0.35", "reduced_tail=true"]),
    "dilated": ("mnv3_small", ["dilated=true"]),
    "rectangle": ("mobilevit_xs", ["input.size=[192,160]"]),
    "small lite0": ("efficientnet_lite0", ["width_mult=0.5", "depth_mult=0.5"]),
}

ODD = (97, 161)
"""An odd size: `same` padding is uneven at it, and patches do not tile its feature maps."""


def images(graph: Graph, batch: int, size: Sequence[int]) -> Array:
    return np.random.default_rng(batch).standard_normal((batch, graph.input.shape[0], *size), dtype=np.float32)


def worst(found: Mapping[str, Array], graph: Graph, state: State, x: Array) -> float:
    """The largest relative difference of any output from torch's in float64: torch's own in float32 is 3e-6 off."""
    double = {key: value.astype("float64") for key, value in state.items()}
    reference = outputs(graph, double, torch.from_numpy(x))
    if graph.single:
        reference = {next(iter(graph.outputs)): reference[""]}
    assert set(found) >= set(reference)
    differences = []
    for name, value in reference.items():
        theirs = value.numpy()
        assert found[name].shape == theirs.shape
        assert np.isfinite(theirs).all()
        differences.append(float(np.abs(found[name] - theirs).max() / np.abs(theirs).max()))
    return max(differences)


def check(source: str, overrides: Sequence[str], target: str, folder: Path) -> None:
    own = raw(archc.lower(archc.load(source, overrides)))
    state = initial(own)
    file = folder / f"net{emitter(target).suffix}"
    written = archc.export(own, file, to=target, state=state, check=False)
    assert worst(open_file(file).run(x := images(own, 1, own.input.shape[1:])), own, state, x) < CLOSE
    odd = own
    if not written.form.any_size:
        odd = raw(archc.lower(archc.load(source, [*overrides, f"input.size=[{ODD[0]},{ODD[1]}]"])))
        file = folder / f"odd{emitter(target).suffix}"
        written = archc.export(odd, file, to=target, state=state, check=False)
    assert written.form.batch is None, "one file takes one image and three"
    session = open_file(file)
    for batch in (1, 3):
        assert worst(session.run(x := images(odd, batch, ODD)), odd, state, x) < CLOSE


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", sorted(archc.specs()))
def test_every_bundled_spec(name: str, target: str, tmp_path: Path) -> None:
    check(name, [], target, tmp_path)


@pytest.mark.parametrize("target", TRACED)
@pytest.mark.parametrize("name", TRACED_SPECS)
def test_traced(name: str, target: str, tmp_path: Path) -> None:
    own = raw(archc.lower(archc.load(name, ["input.size=96", "width_mult=0.25"])))
    state = initial(own)
    file = tmp_path / f"net{emitter(target).suffix}"
    archc.export(own, file, to=target, state=state, check=False, any_size=False)
    session = open_file(file)
    for batch in (1, 3):
        assert worst(session.run(x := images(own, batch, (96, 96))), own, state, x) < CLOSE


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(variant: str, target: str, tmp_path: Path) -> None:
    check(*VARIANTS[variant], target, tmp_path)


@pytest.mark.parametrize("target", TARGETS)
def test_a_child_spec(target: str, tmp_path: Path) -> None:
    child = tmp_path / "child.yaml"
    child.write_text("defaults: [mnv3_small]\nnum_classes: 7\nwidth_mult: 0.5\nstages: {c4: {0: {kernel: 7}}}\n")
    check(str(child), [], target, tmp_path)
