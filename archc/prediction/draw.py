"""Predictions drawn over their pictures: a coloured mask with its legend, or boxes with their labels."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import torch
from PIL import Image, ImageDraw, ImageFont
from torchvision.transforms import functional as tf

from archc.prediction.detect import Detected, Detection
from archc.prediction.segment import Region, Segmented

Colour = tuple[int, int, int]
_Rectangle = tuple[float, float, float, float]

SHORTEST: Final = 240
"""Pixels of the shorter side that labels are readable on; a smaller picture is drawn enlarged, by a whole factor."""
LONGEST: Final = 8000
"""Pixels of the longer side that a picture is enlarged to at most."""
OPACITY: Final = 0.6
_SMALLEST_TEXT = 13
FONTS: Final = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "arial.ttf")
"""Looked for in the system's directories, for names beyond ASCII."""
_NO_LETTER = "\uffff"
_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)


def draw(found: Segmented | Detected) -> Image.Image:
    """What was found in a picture, drawn over it, in RGB. The picture's own pixels are left as they are."""
    if isinstance(found, Segmented):
        return draw_mask(found.picture, found.mask, found.classes)
    return draw_boxes(found.picture, found.detections)


def draw_mask(picture: Image.Image, mask: torch.Tensor, classes: Sequence[Region]) -> Image.Image:
    """A picture under the colours of its mask (height × width), with a legend below it.

    The background has no colour. It is class 0, unless that has a name and is called something else.
    """
    painted = [region for region in classes if not is_background(region)]
    colours = torch.zeros(1 + max((region.index for region in classes), default=0), 3, dtype=torch.uint8)
    covered = torch.zeros(len(colours), dtype=torch.uint8)
    for region in painted:
        colours[region.index] = torch.tensor(mask_colour(region))
        covered[region.index] = round(255 * OPACITY)
    index = mask.int()
    colour = tf.to_pil_image(colours[index].permute(2, 0, 1))
    drawn = picture.convert("RGB")
    drawn.paste(colour, mask=tf.to_pil_image(covered[index]))
    drawn = _enlarged(drawn)
    font = _font(_text_size(drawn), [region.name for region in painted])
    legend = [
        (_name(font, region.index, region.name, f"{region.share:.1%}"), mask_colour(region)) for region in painted
    ]
    return _with_legend(drawn, legend, font) if legend else drawn


def draw_boxes(picture: Image.Image, detections: Sequence[Detection]) -> Image.Image:
    """A picture with boxes, the best in front; each has its class and score beside it."""
    drawn = _enlarged(picture.convert("RGB"))
    factor = drawn.width / picture.width
    font, pen = _font(_text_size(drawn), [detection.name for detection in detections]), ImageDraw.Draw(drawn)
    width = max(2, round(_text_size(drawn) / 6))
    boxes = [tuple(factor * side for side in detection.box) for detection in detections]
    for detection, box in reversed(list(zip(detections, boxes, strict=True))):
        left, top, right, bottom = _inside(box, drawn.size)
        corners = (left, top, max(left, right - 1), max(top, bottom - 1))
        pen.rectangle(corners, outline=box_colour(detection.index), width=width)
    labels = _Labels(font, drawn.size, width)
    for detection, box in zip(detections, boxes, strict=True):
        text = _name(font, detection.index, detection.name, f"{detection.score:.2f}")
        labels.place(text, _inside(box, drawn.size), box_colour(detection.index))
    labels.write(pen)
    return drawn


def _inside(box: Sequence[float], size: tuple[int, int]) -> _Rectangle:
    """A box without what lies outside of the picture, where no edge of it would be seen."""
    (left, top, right, bottom), (width, height) = box, size
    return max(0, left), max(0, top), min(width, right), min(height, bottom)


def is_background(region: Region) -> bool:
    """Whether a class is what no object covers."""
    return region.index == 0 and (region.name is None or region.name.strip("_ ").lower() in ("background", "bg"))


def mask_colour(region: Region) -> Colour:
    """A class's colour in masks: Pascal VOC's, but white for a class 0 that is no background, where VOC's is black."""
    return voc_colour(region.index) if region.index else _LIGHT


def voc_colour(index: int) -> Colour:
    """A class's colour in Pascal VOC's palette: the bits of its number, dealt in turn to red, green and blue, the
    first to the brightest bit of each. All numbers below 2²⁴ differ.
    """
    red = green = blue = 0
    for place in range(7, -1, -1):
        red |= (index & 1) << place
        green |= (index >> 1 & 1) << place
        blue |= (index >> 2 & 1) << place
        index >>= 3
    return red, green, blue


def box_colour(index: int) -> Colour:
    """A class's colour in boxes: bright, as thin lines need it; neighbours differ by the golden section of the hues."""
    hue = index * (math.sqrt(5) - 1) / 2 % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85 if index % 2 else 0.6, 1)
    return round(255 * red), round(255 * green), round(255 * blue)


class _Labels:
    """Labels beside boxes, inside the picture, and off each other where there is room."""

    def __init__(self, font: ImageFont.FreeTypeFont, size: tuple[int, int], line: int) -> None:
        self._font, self._size, self._line = font, size, line
        self._margin = max(2, round(font.size / 5))
        self._placed: list[tuple[_Rectangle, str, Colour]] = []

    def place(self, text: str, box: _Rectangle, colour: Colour) -> None:
        """Find a place at a box: above it if there is room, else inside, else below; at its left, else its right."""
        text = _shortened(text, self._font, self._size[0] - 2 * self._margin)
        width = self._font.getlength(text) + 2 * self._margin
        height = sum(self._font.getmetrics()) + self._margin
        tops = [box[1] - height, box[1] + self._line, box[3], box[3] - height - self._line]
        tops += [box[1] + self._line + number * height for number in range(1, 6)]
        lowest, rightmost = self._size[1] - height, self._size[0] - width
        spots = [
            (x, top, x + width, top + height)
            for left in (box[0], box[2] - width)
            for top in tops
            for x in [min(max(0, left), rightmost)]
            if 0 <= top <= lowest
        ]
        free = (spot for spot in spots if not any(_overlap(spot, other) for other, _, _ in self._placed))
        self._placed.append((next(free, (spots or [(0, 0, width, height)])[0]), text, colour))

    def write(self, pen: ImageDraw.ImageDraw) -> None:
        """Write all labels, the first in front where they overlap after all."""
        for (left, top, right, bottom), text, colour in reversed(self._placed):
            pen.rectangle((left, top, right - 1, bottom - 1), fill=colour)
            middle = (left + self._margin, (top + bottom) / 2)
            pen.text(middle, text, _on(colour), self._font, anchor="lm")


def _with_legend(
    picture: Image.Image, entries: Sequence[tuple[str, Colour]], font: ImageFont.FreeTypeFont
) -> Image.Image:
    """A strip below the picture, so that it hides nothing: a swatch and a name for each class, in lines."""
    size = round(font.size)
    gap, height = size // 2, round(1.6 * size)
    placed: list[tuple[float, int, str, Colour]] = []
    left, row = float(gap), 0
    for entry, colour in entries:
        text = _shortened(entry, font, picture.width - size - 3 * gap)
        width = size + gap + font.getlength(text)
        if left > gap and left + width + gap > picture.width:
            left, row = float(gap), row + 1
        placed.append((left, row, text, colour))
        left += width + 2 * gap
    canvas = Image.new("RGB", (picture.width, picture.height + gap + (row + 1) * height), _LIGHT)
    canvas.paste(picture)
    pen = ImageDraw.Draw(canvas)
    for left, row, text, colour in placed:
        middle = picture.height + gap / 2 + (row + 0.5) * height
        pen.rectangle((left, middle - size / 2, left + size, middle + size / 2), fill=colour, outline=_DARK)
        pen.text((left + size + gap, middle), text, _DARK, font, anchor="lm")
    return canvas


def _enlarged(picture: Image.Image) -> Image.Image:
    """A small picture by a whole factor, its pixels as they are."""
    wanted = math.ceil(SHORTEST / min(picture.size))
    factor = max(1, min(wanted, LONGEST // max(picture.size)))
    if factor == 1:
        return picture
    return picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.NEAREST)


def _text_size(picture: Image.Image) -> int:
    """Pixels of a letter's height that are readable when the whole picture is on the screen."""
    return max(_SMALLEST_TEXT, round(math.sqrt(picture.width * picture.height) / 40))


def _font(size: int, names: Iterable[str | None]) -> ImageFont.FreeTypeFont:
    """The first font that has every letter of these names; Pillow's own, which has only ASCII's, where none has."""
    text = "".join(name for name in names if name)
    for family in (None, *FONTS):
        font = _opened(family, size)
        if font is not None and writes(font, text):
            return font
    return _own_font(size)


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
    """Whether a font has every letter of a text, rather than the box that stands for those it has not."""
    missing = bytes(font.getmask(_NO_LETTER))
    return all(character == " " or bytes(font.getmask(character)) != missing for character in set(text))


def _name(font: ImageFont.FreeTypeFont, index: int, name: str | None, number: str) -> str:
    """What stands in a label: a class whose name cannot be written goes by its number, as one without a name does."""
    return f"{name if name and writes(font, name) else f'class {index}'} {number}"


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _on(colour: Colour) -> Colour:
    """Black or white, whichever is easier to read on a colour: its luminance by ITU-R BT.601 decides."""
    red, green, blue = colour
    return _DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else _LIGHT


def _overlap(a: _Rectangle, b: _Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
