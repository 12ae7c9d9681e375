"""From a picture file to a network's input, by the spec's input preprocessing.

Every step is Pillow's or torchvision's own, so that the result is theirs to the last bit: torchvision's
`ImageClassification`, `SemanticSegmentation` and `ObjectDetection` presets and timm's evaluation transform are the
reference.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, cast

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tf

from archc.document.diagnostics import Diagnostic
from archc.language.settings import Input
from archc.prediction.errors import ImageError, TaskError

FORMATS: Final = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What is opened, in Pillow's words. Pillow knows more: formats that run other programs (EPS), and formats that any
bytes may pass for (TGA)."""

LARGEST: Final = 32
"""A picture that goes through the network whole may be so many times as large as the network's own input."""

_MODES = {3: "RGB", 1: "L"}
_MEANINGLESS = {"F": "holds floating-point numbers", "LAB": "is in CIE LAB colours"}
_HIGH_BYTES = [value >> 8 for value in range(1 << 16)]
_TOLERANCE = 1e-6
"""Rounding errors of `size / crop`: 224 / (224 / 232) may come out below 232."""


def read(path: Path, channels: int = 3) -> Image.Image:
    """Open a picture, turn it upright as its EXIF orientation says, and convert it to RGB, or to grey for one channel.

    Transparency is dropped and colour profiles are not applied, as the data loaders that networks are trained with
    do. 16-bit grey keeps its high byte, which is what Pillow does with 16-bit colour. Of several frames, the first.

    Raises:
        ImageError: no picture, damaged, too large, or in a form that has no one meaning in 8 bits.
    """
    try:
        return _converted(_decoded(path), path, _MODES[channels])
    except (Image.DecompressionBombError, MemoryError):
        limit = f"the limit is {_limit():,} pixels" if _limit() else ""
        raise _error("image-too-large", path, "has too many pixels to be decoded", limit) from None


def _decoded(path: Path) -> Image.Image:
    if not path.is_file():
        raise _error("unreadable-image", path, "is not a file")
    try:
        with path.open("rb") as file:
            image = Image.open(file, formats=FORMATS)
            image.load()
            return _upright(image)  # some formats read their orientation only now
    except UnidentifiedImageError:
        if path.stat().st_size == 0:
            raise _error("not-an-image", path, "is empty") from None
        raise _error("not-an-image", path, "is no picture", f"what can be read: {', '.join(FORMATS)}") from None
    except (Image.DecompressionBombError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise whatever a damaged byte makes them stumble over
        if isinstance(error, OSError) and error.errno is not None:
            raise _error("unreadable-image", path, f"cannot be read: {error.strerror}") from None
        raise _damaged(path, error) from None


class Preparation:
    """What an input preprocessing makes of pictures.

    A picture is resized until it just covers the size before the crop, which is `size / crop` rounded down, its
    proportions kept; then the centre is cropped. With `whole`, it just covers `size`, and nothing is cropped. For a
    square `size` that is the familiar "shorter side to `size / crop`", computed as torchvision does. For another, the
    picture has to cover a rectangle, so its shorter side need not be what decides: timm's evaluation transform does
    the same.

    Raises:
        TaskError: pictures have one channel or three, and the network takes another number.
    """

    def __init__(self, preprocessing: Input, *, whole: bool = False) -> None:
        check_channels(preprocessing)
        self.preprocessing = preprocessing
        self.whole = whole
        self.crop = list(preprocessing.size)
        crop = 1.0 if whole else preprocessing.crop
        self.before_crop = [math.floor(side / crop + _TOLERANCE) for side in preprocessing.size]
        self._interpolation = InterpolationMode(preprocessing.interpolation)
        self._mean, self._std = _per_channel(preprocessing.mean), _per_channel(preprocessing.std)

    def __call__(self, path: Path) -> torch.Tensor:
        """Read and prepare one picture: channels × height × width.

        Raises:
            ImageError: as `read`.
        """
        return self.prepare(self.read(path))

    def read(self, path: Path) -> Image.Image:
        """Read a picture that can be prepared.

        Raises:
            ImageError: as the function `read`, or the picture is so narrow that resizing it would take too much memory.
        """
        image = read(path, self.preprocessing.channels)
        height, width = self._resized(image)
        limit = _limit()
        if self.whole:  # all of it goes through the network, whose activations are far larger than a picture
            most = LARGEST * self.before_crop[0] * self.before_crop[1]
            limit = min(limit, most) if limit else most
        if limit and height * width > limit:
            shape = f"is {image.width}×{image.height}: resized to cover the network's input"
            raise _error("image-too-large", path, f"{shape}, it would be {width}×{height}")
        return image

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Prepare a picture that is already in RGB, or in grey for a network of one channel."""
        high, wide = self.before_crop
        size = [high] if high == wide else self._resized(image)
        image = tf.resize(image, size, interpolation=self._interpolation, antialias=True)
        if not self.whole:
            image = tf.center_crop(image, self.crop)
        normalised: torch.Tensor = tf.normalize(as_tensor(image, self.preprocessing), self._mean, self._std)
        return normalised

    def _resized(self, image: Image.Image) -> list[int]:
        """Height and width of the picture at the scale at which it covers the size before the crop."""
        scale = min(image.height / self.before_crop[0], image.width / self.before_crop[1])
        return [round(image.height / scale), round(image.width / scale)]


def as_tensor(image: Image.Image, preprocessing: Input) -> torch.Tensor:
    """A picture's pixels as they are, in [0, 1] and the preprocessing's channel order: channels × height × width."""
    pixels: torch.Tensor = tf.convert_image_dtype(tf.pil_to_tensor(image), torch.float)
    return pixels.flip(0) if preprocessing.channel_order == "bgr" else pixels


def check_channels(preprocessing: Input) -> None:
    """Check that pictures have as many channels as the network takes.

    Raises:
        TaskError: they have not.
    """
    if preprocessing.channels not in _MODES:
        message = f"the network takes {preprocessing.channels} channels, but pictures have 3, or 1 in grey"
        raise TaskError(Diagnostic("not-a-classifier", message))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # metadata that cannot be read does not make the picture unreadable
        return image.copy()


def _converted(image: Image.Image, path: Path, mode: str) -> Image.Image:
    if what := _MEANINGLESS.get(image.mode):
        raise _error("unsupported-image", path, what, "convert it to 8-bit RGB first")
    if image.mode.startswith("I"):
        # Pillow's own conversion cuts everything above 255 off, and the picture would come out white.
        image = image.convert("I")
        darkest, brightest = cast(tuple[int, int], image.getextrema())
        if darkest < 0 or brightest >= len(_HIGH_BYTES):
            raise _error("unsupported-image", path, "has 32 bits per pixel", "convert it to 8-bit RGB first")
        image = image.point(_HIGH_BYTES, "L")
    return image.convert(mode)


def _per_channel(value: float | tuple[float, ...]) -> list[float]:
    return list(value) if isinstance(value, tuple) else [value]


def _limit() -> int:
    """Above this many pixels Pillow refuses to decode; 0 where the user has lifted its limit."""
    return 2 * (Image.MAX_IMAGE_PIXELS or 0)


def _damaged(path: Path, error: Exception) -> ImageError:
    reason = str(error)
    if "truncated" in reason.lower() or isinstance(error, EOFError):
        return _error("damaged-image", path, "is truncated: the file ends before the picture does")
    return _error("damaged-image", path, f"is damaged: {reason or type(error).__name__}")


def _error(id: str, path: Path, what: str, help: str = "") -> ImageError:
    return ImageError(Diagnostic(id, f"`{path}` {what}", help=help))
