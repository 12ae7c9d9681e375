"""A model's outputs for pictures, for those who do not speak Keras."""

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
    """Where what is built and run inside lives, in torch's words: `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        NoDeviceError: it cannot be used.
    """
    with keras.device(_usable(name)):
        yield


@cache
def _usable(name: str) -> str:
    """A device as Keras calls it, tried out once."""
    if keras.backend.backend() == "jax":
        kind, _, number = name.partition(":")
        name = f"{'gpu' if kind == 'cuda' else kind}:{number or 0}"
    try:
        with keras.device(name):
            keras.ops.convert_to_numpy(keras.ops.zeros((1,)))
    except (RuntimeError, ValueError, AssertionError, NotImplementedError) as error:  # the libraries' ways to say no
        raise NoDeviceError(str(error).partition("\n")[0]) from None
    return name


def run(model: Any, images: Array, output: str | None = None) -> Array:
    """The model's output in evaluation mode, as NumPy arrays; `output` is its key where the model returns a mapping.

    Args:
        model: what `build` returned.
        images: [N, height, width, channels].
        output: of several outputs, which.
    """
    found = model.predict_on_batch(images)
    return found if output is None else found[output]
