"""From an image file to a network's input, as the preprocessing says.

Every step is Pillow's or torchvision's own, so that the result equals theirs to the last bit. The references are
torchvision's `ImageClassification`, `SemanticSegmentation` and `ObjectDetection` presets, and timm's evaluation
transform.
"""

from __future__ import annotations

import math
from pathlib import Path
from threading import Lock
from typing import Final

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tf

from archc.document.diagnostics import Diagnostic
from archc.language.settings import Input
from archc.prediction.errors import ImageError, PredictionError
from archc.prediction.sources import ImageSource, InMemory

FORMATS: Final = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are opened. Pillow knows more: formats that run other programs (EPS), and formats
that any bytes may pass for (TGA)."""

LARGEST: Final = 32
"""The largest whole image that goes through a network, in multiples of the network's own input."""

_MODES = {3: "RGB", 1: "L"}
_AMBIGUOUS = {"F": "holds floating-point numbers", "LAB": "is in CIE LAB colours", "I": "has 32 bits per pixel"}
_HIGH_BYTES = [value >> 8 for value in range(1 << 16)]
_TOLERANCE = 1e-6
"""Rounding errors of `size / crop`: 224 / (224 / 232) may come out below 232."""
_LOADING = Lock()
"""Held while an image in memory is copied: the same one may be passed several times, and Pillow reads it when used."""


def read(source: ImageSource, channels: int = 3) -> Image.Image:
    """Open an image, turn it upright by its EXIF orientation, and convert it to RGB, or to grey for one channel.

    Transparency is dropped and colour profiles are not applied: the data loaders that networks are trained with do the
    same. 16-bit grey keeps its high byte, as Pillow keeps that of 16-bit colours. Of several frames, the first is read.

    Raises:
        ImageError: it is no image, damaged, too large, or in a form with more than one meaning in 8 bits.
    """
    try:
        return _converted(*_decoded(source), source, _MODES[channels])
    except (Image.DecompressionBombError, MemoryError):
        limit = f"the limit is {_limit():,} pixels" if _limit() else ""
        raise _error("image-too-large", source, "has too many pixels to be decoded", limit) from None


def _decoded(source: ImageSource) -> tuple[Image.Image, str | None]:
    """The image, upright, and the format it was read from."""
    if isinstance(source, Path) and not source.is_file():  # a pipe would wait for its writer
        raise _error("unreadable-image", source, "is not a file")
    try:
        if isinstance(source, InMemory):
            return _copied(source)
        with source.open("rb") as file:
            image = Image.open(file, formats=FORMATS)
            image.load()
            return _upright(image), image.format  # some formats read their orientation only now
    except UnidentifiedImageError:
        if isinstance(source, Path) and source.stat().st_size == 0:
            raise _error("not-an-image", source, "is empty") from None
        raise _error("not-an-image", source, "is no image", f"what can be read: {', '.join(FORMATS)}") from None
    except (Image.DecompressionBombError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise errors of any kind for damaged bytes
        if isinstance(error, OSError) and error.errno is not None:
            raise _error("unreadable-image", source, f"cannot be read: {error.strerror}") from None
        raise _damaged(source, error) from None


def _copied(source: InMemory) -> tuple[Image.Image, str | None]:
    if not isinstance(source.image, Image.Image):
        return Image.fromarray(source.image), None
    with _LOADING:
        return _upright(source.image.copy()), source.image.format


class Preparation:
    """Turns images into a network's input, as the preprocessing says.

    An image is resized, its proportions kept, until it just covers the size before the crop, which is `size / crop`
    rounded down; then the centre is cropped. With `whole`, it just covers `size`, and nothing is cropped. For a square
    `size` this is the usual "shorter side to `size / crop`", computed as torchvision does. A rectangle has to be
    covered as well, so the image's shorter side need not decide; timm's evaluation transform does the same. A whole
    image that is `stretched` gets just `size`, whatever its proportions.

    Raises:
        PredictionError: the network takes neither one channel nor three.
    """

    def __init__(self, preprocessing: Input, *, whole: bool = False, stretched: bool = False) -> None:
        check_channels(preprocessing)
        self.stretched = stretched
        self.preprocessing = preprocessing
        self.whole = whole
        self.crop = list(preprocessing.size)
        crop = 1.0 if whole else preprocessing.crop
        self.before_crop = [math.floor(side / crop + _TOLERANCE) for side in preprocessing.size]
        self._interpolation = InterpolationMode(preprocessing.interpolation)
        self._mean, self._std = _per_channel(preprocessing.mean), _per_channel(preprocessing.std)

    def __call__(self, source: ImageSource) -> torch.Tensor:
        """Read and prepare one image: channels × height × width.

        Raises:
            ImageError: as `read`.
        """
        return self.prepare(self.read(source))

    def read(self, source: ImageSource) -> Image.Image:
        """Read an image that can be prepared.

        Raises:
            ImageError: as the function `read`, or the image is so narrow that its resized copy takes too much memory.
        """
        image = read(source, self.preprocessing.channels)
        height, width = self._resized(image)
        limit = _limit()
        if self.whole:  # all of it goes through the network, whose activations are far larger than an image
            most = LARGEST * self.before_crop[0] * self.before_crop[1]
            limit = min(limit, most) if limit else most
        if limit and height * width > limit:
            shape = f"is {image.width}×{image.height}: resized to cover the network's input"
            raise _error("image-too-large", source, f"{shape}, it would be {width}×{height}")
        return image

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Prepare an image in RGB, or in grey for a network of one channel: channels × height × width."""
        high, wide = self.before_crop
        size = [high] if high == wide and not self.stretched else self._resized(image)
        image = tf.resize(image, size, interpolation=self._interpolation, antialias=True)
        if not self.whole:
            image = tf.center_crop(image, self.crop)
        normalised: torch.Tensor = tf.normalize(as_tensor(image, self.preprocessing), self._mean, self._std)
        return normalised

    def _resized(self, image: Image.Image) -> list[int]:
        """Height and width of the image once it covers the size before the crop."""
        if self.stretched:
            return self.before_crop
        scale = min(image.height / self.before_crop[0], image.width / self.before_crop[1])
        return [round(image.height / scale), round(image.width / scale)]


def as_tensor(image: Image.Image, preprocessing: Input) -> torch.Tensor:
    """An image's pixels from 0 to 1 in the preprocessing's channel order: channels × height × width."""
    pixels: torch.Tensor = tf.convert_image_dtype(tf.pil_to_tensor(image), torch.float)
    return pixels.flip(0) if preprocessing.channel_order == "bgr" else pixels


def check_channels(preprocessing: Input) -> None:
    """Check that a network takes images of one channel or three.

    Raises:
        PredictionError: it does not.
    """
    if preprocessing.channels not in _MODES:
        message = f"the network takes {preprocessing.channels} channels, but images have 3, or 1 in grey"
        raise PredictionError(Diagnostic("not-a-classifier", message))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # metadata that cannot be read does not make the image unreadable
        return image.copy()


def _converted(image: Image.Image, form: str | None, source: ImageSource, mode: str) -> Image.Image:
    if not image.width or not image.height:
        raise _error("unsupported-image", source, "has no pixels")
    if image.mode.startswith("I;16") or (image.mode, form) == ("I", "PPM"):
        # Pillow's own conversion cuts off all values above 255, and the image would come out white. It reads 16-bit PPM
        # as 32-bit integers from 0 to 65535.
        image = image.convert("I").point(_HIGH_BYTES, "L")
    elif what := _AMBIGUOUS.get(image.mode):
        raise _error("unsupported-image", source, what, "convert it to 8-bit RGB or grey first")
    return image.convert(mode)


def _per_channel(value: float | tuple[float, ...]) -> list[float]:
    return list(value) if isinstance(value, tuple) else [value]


def _limit() -> int:
    """The pixels above which Pillow refuses to decode; 0 where the user has lifted its limit."""
    return 2 * (Image.MAX_IMAGE_PIXELS or 0)


def _damaged(source: ImageSource, error: Exception) -> ImageError:
    reason = str(error)
    if "truncated" in reason.lower() or isinstance(error, EOFError):
        return _error("damaged-image", source, "is truncated: the file ends before the image does")
    return _error("damaged-image", source, f"is damaged: {reason or type(error).__name__}")


def _error(id: str, source: ImageSource, what: str, help: str = "") -> ImageError:
    return ImageError(Diagnostic(id, f"`{source}` {what}", help=help))
