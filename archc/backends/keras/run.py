"""Running a model on a device, in words that do not depend on Keras's own backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from archc.backends.keras.runtime import keras

Array = Any


class NoDeviceError(ValueError):
    """A device that cannot be used here."""


@contextmanager
def on_device(name: str) -> Iterator[None]:
    """Build and run models on a device, named as torch names it: `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        NoDeviceError: it cannot be used.
    """
    with keras.device(_usable(name)):
        yield


@cache
def _usable(name: str) -> str:
    """The name that Keras has for a device, which is tried once."""
    if keras.backend.backend() == "jax":
        kind, _, number = name.partition(":")
        name = f"{'gpu' if kind == 'cuda' else kind}:{number or 0}"
    try:
        with keras.device(name):
            keras.ops.convert_to_numpy(keras.ops.zeros((1,)))
    except (RuntimeError, ValueError, AssertionError, NotImplementedError) as error:  # ways to refuse
        raise NoDeviceError(str(error).partition("\n")[0]) from None
    return name


def run(model: Any, images: Array, output: str | None = None) -> Array:
    """The model's output in evaluation mode, as NumPy arrays.

    Args:
        model: a model that archc built.
        images: [N, height, width, channels].
        output: the key of one output, where the model returns a mapping; by default, the whole mapping.
    """
    found = model.predict_on_batch(images)
    return found if output is None else found[output]
