"""Predictions drawn over their images: a coloured mask with a legend, or boxes with labels.

torchvision blends masks, and Pillow draws the rest. torchvision's own labels lie inside their boxes, over each other
where boxes meet, so labels are placed here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import torch
from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps
from torchvision.transforms import functional as tf
from torchvision.utils import draw_segmentation_masks

from archc.prediction.results import ClassArea, Detected, Detection, Result, Segmented

Colour = tuple[int, int, int]

SHORTEST: Final = 240
"""Pixels of the shorter side that labels are readable on; a smaller image is enlarged by a whole factor."""
LONGEST: Final = 8000
"""Pixels of the longer side that an image is enlarged to at most."""
OPACITY: Final = 0.6
"""Opacity of masks."""
FONTS: Final = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "arial.ttf")
"""Fonts of the system for class names beyond ASCII, in this order."""

_AT_ONCE = 8
"""Masks blended at a time; each takes a byte for every pixel."""
_SMALLEST_TEXT = 13
_NO_LETTER = "\uffff"
_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)


def draw(found: Result) -> Image.Image:
    """An RGB copy of an image with its mask or boxes.

    Raises:
        ValueError: the result is neither, so there is nothing to draw.
    """
    match found:
        case Segmented():
            return draw_mask(found.image, found.mask, found.classes)
        case Detected():
            return draw_boxes(found.image, found.detections)
    raise ValueError(f"a `{type(found).__name__}` has no mask and no boxes to draw")


def draw_mask(image: Image.Image, mask: torch.Tensor, classes: Sequence[ClassArea]) -> Image.Image:
    """An image under the colours of its mask (height × width), with a legend below it.

    The background has no colour. It is class 0, unless that class has another name.
    """
    painted = [area for area in classes if not is_background(area)]
    pixels = tf.pil_to_tensor(image.convert("RGB"))
    for start in range(0, len(painted), _AT_ONCE):
        areas = painted[start : start + _AT_ONCE]
        masks = torch.stack([mask == area.index for area in areas])
        pixels = draw_segmentation_masks(pixels, masks, OPACITY, [mask_colour(area) for area in areas])
    drawn = _enlarged(tf.to_pil_image(pixels))
    font = _font(_text_size(drawn), [area.name for area in painted])
    legend = [(_label(font, area.index, area.name, f"{area.share:.1%}"), mask_colour(area)) for area in painted]
    return _with_legend(drawn, legend, font) if legend else drawn


def draw_boxes(image: Image.Image, detections: Sequence[Detection]) -> Image.Image:
    """An image with boxes, the best in front, each with its class and score beside it."""
    drawn = _enlarged(image.convert("RGB"))
    pen, size = ImageDraw.Draw(drawn), _text_size(drawn)
    font, line = _font(size, [detection.name for detection in detections]), max(2, round(size / 6))
    boxes = [_inside([side * drawn.width / image.width for side in one.box], drawn.size) for one in detections]
    for detection, (left, top, right, bottom) in reversed(list(zip(detections, boxes, strict=True))):
        corners = (left, top, max(left, right - 1), max(top, bottom - 1))
        pen.rectangle(corners, outline=box_colour(detection.index), width=line)
    labels: list[tuple[_Rectangle, str, Colour]] = []
    margin = max(2, round(font.size / 5))
    for detection, box in zip(detections, boxes, strict=True):
        text = _label(font, detection.index, detection.name, f"{detection.score:.2f}")
        text = _shortened(text, font, drawn.width - 2 * margin)
        needed = (font.getlength(text) + 2 * margin, sum(font.getmetrics()) + margin)
        place = _free_place(needed, box, drawn.size, line, [other for other, _, _ in labels])
        labels.append((place, text, box_colour(detection.index)))
    for (left, top, right, bottom), text, colour in reversed(labels):
        pen.rectangle((left, top, right - 1, bottom - 1), fill=colour)
        pen.text((left + margin, (top + bottom) / 2), text, _on(colour), font, anchor="lm")
    return drawn


class _Rectangle(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: _Rectangle) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def _inside(box: Sequence[float], size: tuple[int, int]) -> _Rectangle:
    """The part of a box inside the image; an edge outside could not be seen."""
    (left, top, right, bottom), (width, height) = box, size
    return _Rectangle(max(0, left), max(0, top), min(width, right), min(height, bottom))


def _free_place(
    needed: tuple[float, float], box: _Rectangle, size: tuple[int, int], line: int, taken: Sequence[_Rectangle]
) -> _Rectangle:
    """The place of a label at a box: above it if there is room, else inside, else below, away from other labels."""
    width, height = needed
    tops = [box.top - height, box.top + line, box.bottom, box.bottom - height - line]
    tops += [box.top + line + number * height for number in range(1, 6)]
    lefts = [min(max(0, left), size[0] - width) for left in (box.left, box.right - width)]
    places = [
        _Rectangle(left, top, left + width, top + height)
        for left in lefts
        for top in tops
        if 0 <= top <= size[1] - height
    ]
    free = (place for place in places if not any(place.overlaps(other) for other in taken))
    return next(free, places[0] if places else _Rectangle(0, 0, width, height))


def is_background(area: ClassArea) -> bool:
    """Whether a class is the background: class 0 without a name, or with a name that says so."""
    return area.index == 0 and (area.name is None or area.name.strip("_ ").lower() in ("background", "bg"))


def mask_colour(area: ClassArea) -> Colour:
    """A class's colour in masks: Pascal VOC's, but white for a class 0 that is no background, where VOC's is black."""
    return voc_colour(area.index) if area.index else _LIGHT


def voc_colour(index: int) -> Colour:
    """A class's colour in Pascal VOC's palette; all below 2²⁴ differ.

    The bits of the class's number go to red, green and blue in turn, the first ones to the highest bits.
    """
    red = green = blue = 0
    for place in range(7, -1, -1):
        red |= (index & 1) << place
        green |= (index >> 1 & 1) << place
        blue |= (index >> 2 & 1) << place
        index >>= 3
    return red, green, blue


def box_colour(index: int) -> Colour:
    """A class's colour in boxes: bright, since lines are thin. Hues of neighbours differ by the golden section."""
    hue = 360 * (index * (math.sqrt(5) - 1) / 2 % 1)
    red, green, blue = ImageColor.getrgb(f"hsv({hue:.3f}, {85 if index % 2 else 60}%, 100%)")[:3]
    return red, green, blue


def _with_legend(
    image: Image.Image, entries: Sequence[tuple[str, Colour]], font: ImageFont.FreeTypeFont
) -> Image.Image:
    """The image with a strip below it: a swatch and a name for each class, as many in a row as fit."""
    size = round(font.size)
    gap, height = size // 2, round(1.6 * size)
    placed: list[tuple[float, int, str, Colour]] = []
    left, row = float(gap), 0
    for entry, colour in entries:
        text = _shortened(entry, font, image.width - size - 3 * gap)
        width = size + gap + font.getlength(text)
        if left > gap and left + width + gap > image.width:
            left, row = float(gap), row + 1
        placed.append((left, row, text, colour))
        left += width + 2 * gap
    canvas = ImageOps.expand(image, (0, 0, 0, gap + (row + 1) * height), _LIGHT)
    pen = ImageDraw.Draw(canvas)
    for left, row, text, colour in placed:
        middle = image.height + gap / 2 + (row + 0.5) * height
        pen.rectangle((left, middle - size / 2, left + size, middle + size / 2), fill=colour, outline=_DARK)
        pen.text((left + size + gap, middle), text, _DARK, font, anchor="lm")
    return canvas


def _enlarged(image: Image.Image) -> Image.Image:
    """A small image enlarged by a whole factor, so that its pixels stay as they are."""
    wanted = math.ceil(SHORTEST / min(image.size))
    factor = max(1, min(wanted, LONGEST // max(image.size)))
    return image if factor == 1 else ImageOps.scale(image, factor, Image.Resampling.NEAREST)


def _text_size(image: Image.Image) -> int:
    """Height of letters in pixels that can be read when the whole image is on a screen."""
    return max(_SMALLEST_TEXT, round(math.sqrt(image.width * image.height) / 40))


def _font(size: int, names: Iterable[str | None]) -> ImageFont.FreeTypeFont:
    """The font that can write the most of these names: Pillow's own, which has ASCII's letters only, or a system's."""
    wanted = {name for name in names if name}
    best, most = _own_font(size), -1
    for family in (None, *FONTS):
        font = _opened(family, size)
        written = sum(writes(font, name) for name in wanted) if font is not None else -1
        if font is not None and written > most:
            best, most = font, written
        if most == len(wanted):
            break
    return best


@lru_cache(maxsize=32)
def _opened(family: str | None, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return _own_font(size) if family is None else ImageFont.truetype(family, size)
    except OSError:  # not on this system
        return None


def _own_font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def writes(font: ImageFont.FreeTypeFont, text: str) -> bool:
    """Whether a font has every letter of a text; for one that it lacks, it draws a box."""
    missing = bytes(font.getmask(_NO_LETTER))
    return all(character == " " or bytes(font.getmask(character)) != missing for character in set(text))


def _label(font: ImageFont.FreeTypeFont, index: int, name: str | None, number: str) -> str:
    """A class's name and a number; the class's own number stands for a name that is missing or cannot be written."""
    return f"{name if name and writes(font, name) else f'class {index}'} {number}"


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _on(colour: Colour) -> Colour:
    """Black or white, whichever is easier to read on a colour."""
    luminance = ImageColor.getcolor(f"rgb{colour}", "L")
    assert isinstance(luminance, int)
    return _DARK if luminance > 140 else _LIGHT
