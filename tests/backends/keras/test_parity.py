"""Keras's outputs, counts and training steps against torch's, and its networks against keras.applications'."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import archc
from archc.language.load import LIBRARY
from tests.backends.keras.peer import compare, step, training

TOLERANCE = 1e-4
SPECS = LIBRARY.names()
ALIKE = {"fasterrcnn_mnv3_large_fpn", "fasterrcnn_resnet50_fpn"}
"""Detectors that have no operation which their smaller kin lack; JAX takes a minute for each."""
"""Every one; of a detector, its plain network."""
TRAINED = ["mnv3_small", "mobilevit_xxs"]
LONG = {"deeplabv3_resnet50", "fcn_resnet50", "fasterrcnn_resnet50_fpn", "fasterrcnn_mnv3_large_fpn"}
"""Specs that take long at their own size, 520×520 or more."""


def agrees(found: dict[str, Any]) -> None:
    assert max(found["errors"].values()) < TOLERANCE, found
    assert max(found["odd"].values()) < TOLERANCE, found
    assert len(set(found["trainable"])) == 1, found
    assert len(set(found["other"])) == 1, found


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in SPECS])
def test_every_spec_computes_what_torch_does(name: str) -> None:
    agrees(compare(name))


@pytest.mark.slow
@pytest.mark.parametrize("half", [0, 1])
def test_everything_agrees_on_jax(half: int) -> None:
    specs = [name for name in SPECS if name not in ALIKE]
    cases = [*specs, *(f"step:{name}" for name in TRAINED)][half::2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.backends.keras.peer", *cases],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {result.pop("case"): result for result in map(json.loads, done.stdout.splitlines())}
    assert list(found) == cases
    for result in found.values():
        if "step" in result:
            assert max(result["step"].values()) < TOLERANCE
        else:
            agrees(result)


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_step_changes_the_same(name: str) -> None:
    found = step(training(name))
    assert set(found) == {"loss", "weight", "bias", "running_mean", "running_var"}
    assert max(found.values()) < TOLERANCE


APPLICATIONS: dict[str, tuple[str, list[str], Any, dict[str, Any]]] = {
    "small": ("keras_mnv3_small", [], keras.applications.MobileNetV3Small, {}),
    "large": ("keras_mnv3_large", [], keras.applications.MobileNetV3Large, {}),
    "small minimalistic": (
        "keras_mnv3_small_minimalistic",
        [],
        keras.applications.MobileNetV3Small,
        {"minimalistic": True},
    ),
    "large minimalistic": (
        "keras_mnv3_large_minimalistic",
        [],
        keras.applications.MobileNetV3Large,
        {"minimalistic": True},
    ),
    "small 0.6": ("keras_mnv3_small", ["width_mult=0.6"], keras.applications.MobileNetV3Small, {"alpha": 0.6}),
    "large 1.3": ("keras_mnv3_large", ["width_mult=1.3"], keras.applications.MobileNetV3Large, {"alpha": 1.3}),
}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_keras_applications_compute_the_same(name: str) -> None:
    spec, overrides, make, arguments = APPLICATIONS[name]
    model = archc.build(archc.load(spec, overrides), seed=0, backend="keras")
    rng = np.random.default_rng(0)
    values: list[Any] = []
    for height, width in [(224, 224), (97, 130)]:  # theirs pads by the size it was built for
        peer = make(
            weights=None,
            input_shape=(height, width, 3),
            include_preprocessing=False,
            classifier_activation=None,
            **arguments,
        )
        values = values or [drawn(variable, rng) for variable in peer.weights]
        for theirs, ours, value in zip(peer.weights, model.weights, values, strict=True):
            assert theirs.name == ours.name
            theirs.assign(value)
            ours.assign(value.reshape(ours.shape))  # a 1×1 convolution of one pixel is a linear layer
        image = rng.standard_normal((2, height, width, 3)).astype("float32")
        expected, actual = peer.predict_on_batch(image), model.predict_on_batch(image)
        assert np.abs(expected - actual).max() < 1e-5 * np.abs(expected).max()


def drawn(variable: Any, rng: np.random.Generator) -> Any:
    """Values that a mistake would show with: no normalisation that does nothing."""
    if variable.name in ("gamma", "moving_variance"):
        return rng.uniform(0.5, 1.5, variable.shape).astype("float32")
    if variable.name in ("beta", "moving_mean", "bias"):
        return rng.normal(0, 0.2, variable.shape).astype("float32")
    return keras.ops.convert_to_numpy(variable)
