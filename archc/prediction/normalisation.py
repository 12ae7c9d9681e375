"""From pixels to a network's input and back, in NumPy alone: neither torch nor Pillow is needed."""

from __future__ import annotations

import numpy as np

from archc.ir.state import Array
from archc.language.settings import Input as Preprocessing


def normalised(given: Preprocessing, pixels: Array) -> Array:
    """Pixels in RGB, `uint8`, [N, channels, height, width], as the network takes them: 32-bit floats."""
    mean, std = _statistics(given)
    ordered = pixels[:, ::-1] if given.channel_order == "bgr" else pixels
    found: Array = ((ordered / 255 - mean) / std).astype(np.float32)
    return found


def as_pixels(given: Preprocessing, images: Array) -> Array:
    """The inverse of `normalised`, rounded to whole pixels."""
    mean, std = _statistics(given)
    found = (images * std + mean) * 255
    ordered = found[:, ::-1] if given.channel_order == "bgr" else found
    pixels: Array = np.clip(np.round(ordered), 0, 255).astype(np.uint8)
    return pixels


def _statistics(given: Preprocessing) -> tuple[Array, Array]:
    mean, std = (np.reshape(value, (-1, 1, 1)) for value in (given.mean, given.std))
    return mean, std
