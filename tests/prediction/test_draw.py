"""Drawn predictions: the right colours in the right places, labels that can be read, nothing of the image lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont
from torchvision.utils import draw_segmentation_masks

from archc.prediction import draw
from archc.prediction.results import ClassArea, Classified, Detected, Detection, Segmented
from tests.prediction.samples import noise


def area(index: int, name: str | None = None) -> ClassArea:
    return ClassArea(index, name, 10, 0.1)


def mask_of(width: int, height: int, *columns: int) -> torch.Tensor:
    """A mask whose columns, from the left to the right, are of these classes."""
    return torch.tensor(columns, dtype=torch.int32).repeat_interleave(width // len(columns)).expand(height, -1)


# Colours


def test_vocs_palette() -> None:
    """The published colours of its first classes, its last, and the border of objects."""
    known = {
        0: "#000000",
        1: "#800000",
        2: "#008000",
        4: "#000080",
        8: "#400000",
        15: "#c08080",
        20: "#004080",
        255: "#e0e0c0",
    }
    assert {index: "#{:02x}{:02x}{:02x}".format(*draw.voc_colour(index)) for index in known} == known
    assert len({draw.voc_colour(index) for index in range(5000)}) == 5000


def test_classes_differ_in_boxes_too() -> None:
    colours = np.array([draw.box_colour(index) for index in range(91)], int)
    assert len({tuple(colour) for colour in colours.tolist()}) == 91
    assert (colours.max(1) == 255).all(), "lines are bright"
    neighbours = np.abs(colours[1:] - colours[:-1]).max(1)
    assert neighbours.min() > 100


# Masks


def test_a_mask_is_torchvisions_without_the_background() -> None:
    picture = noise(400, 300)
    mask = mask_of(400, 300, 0, 1, 15, 0)
    drawn = draw.draw_mask(picture, mask, [area(0, "__background__"), area(1, "aeroplane"), area(15, "person")])
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    masks = torch.stack([mask == 1, mask == 15])
    expected = draw_segmentation_masks(pixels, masks, 0.6, [(128, 0, 0), (192, 128, 128)]).permute(1, 2, 0)
    got = torch.from_numpy(np.array(drawn.crop((0, 0, 400, 300))))
    assert torch.equal(got, expected)
    assert torch.equal(got[:, :100], torch.from_numpy(np.array(picture))[:, :100])


def test_a_legend_is_below_and_hides_nothing() -> None:
    picture, mask = noise(400, 300), mask_of(400, 300, 0, 1)
    drawn = draw.draw_mask(picture, mask, [area(0), area(1)])
    assert drawn.width == 400
    assert 315 < drawn.height < 350
    legend = np.array(drawn.crop((0, 301, 400, drawn.height))).reshape(-1, 3)
    assert (legend == (128, 0, 0)).all(1).sum() > 100, "the swatch has the class's colour"
    assert (legend == (255, 255, 255)).all(1).mean() > 0.8
    three = draw.draw_mask(picture, mask, [area(index, "a rather long name of a class") for index in range(1, 8)])
    assert three.height > drawn.height + 40, "what does not fit a line starts another"


def test_background_alone_is_the_image() -> None:
    picture = noise(400, 300)
    drawn = draw.draw_mask(picture, mask_of(400, 300, 0), [area(0)])
    assert drawn.tobytes() == picture.tobytes()


@pytest.mark.parametrize(
    ("name", "painted"), [(None, False), ("background", False), ("__background__", False), ("road", True)]
)
def test_class_0_is_painted_where_it_is_no_background(name: str | None, painted: bool) -> None:
    picture = Image.new("RGB", (400, 300), "black")
    drawn = draw.draw_mask(picture, mask_of(400, 300, 0), [area(0, name)])
    assert drawn.getpixel((200, 150)) == ((153, 153, 153) if painted else (0, 0, 0))


def test_more_classes_than_bytes_have_values() -> None:
    picture = Image.new("RGB", (400, 300), "white")
    drawn = draw.draw_mask(picture, mask_of(400, 300, 700, 70_000), [area(700), area(70_000)])
    for x, index in (100, 700), (300, 70_000):
        blended = [round(255 * 0.4 + 0.6 * channel) for channel in draw.voc_colour(index)]
        assert drawn.getpixel((x, 150)) == pytest.approx(blended, abs=1)


# Boxes


def boxes(*corners: tuple[float, float, float, float], size: tuple[int, int] = (400, 300)) -> Image.Image:
    detections = [Detection(1 + n, f"class {n}", 0.9 - n / 100, box) for n, box in enumerate(corners)]
    return draw.draw_boxes(Image.new("RGB", size, "black"), detections)


def where(image: Image.Image, index: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of all pixels that have a class's colour, the last two exclusive."""
    rows, columns = np.nonzero((np.array(image) == draw.box_colour(index)).all(2))
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def test_a_box_is_where_it_was_found() -> None:
    drawn = boxes((100, 120, 200, 220))
    left, top, right, bottom = where(drawn, 1)
    assert (left, right, bottom) == (100, 200, 220)
    assert 95 < top < 105, "its label is above it"
    assert drawn.getpixel((150, 170)) == (0, 0, 0), "it is not filled"
    assert drawn.size == (400, 300)


@pytest.mark.parametrize(
    "box", [(0, 0, 400, 300), (-50, -50, 450, 350), (390, 290, 400, 300), (0, 100, 3, 103), (395, 0, 400, 300)]
)
def test_what_is_drawn_stays_in_the_image(box: tuple[float, float, float, float]) -> None:
    drawn = boxes(box)
    pixels = (np.array(drawn) == draw.box_colour(1)).all(2)
    label = draw._font(13, []).getlength("class 0 0.90")
    assert pixels.sum() > label * 8, "the label is there, whole"
    left, top, right, bottom = (max(0, box[0]), max(0, box[1]), min(400, box[2]) - 1, min(300, box[3]) - 1)
    middle = ((left + right) // 2, (top + bottom) // 2)
    for edge in (left, middle[1]), (right, middle[1]), (middle[0], top), (middle[0], bottom):
        assert drawn.getpixel(edge) == draw.box_colour(1), "every edge can be seen"


def test_labels_keep_off_each_other() -> None:
    one = boxes((50, 100, 350, 280))
    three = boxes((50, 100, 350, 280), (50, 100, 350, 280), (50, 100, 350, 280))
    label = draw._font(13, []).getlength("class 0 0.90") * 10
    for index in 1, 2, 3:
        assert (np.array(three) == draw.box_colour(index)).all(2).sum() > label
    assert where(one, 1)[1] == where(three, 1)[1], "the best keeps its place"


def test_the_best_is_in_front() -> None:
    drawn = boxes((100, 100, 300, 250), (100, 100, 300, 250))
    assert drawn.getpixel((300 - 1, 200)) == draw.box_colour(1)


def test_no_box_is_the_image() -> None:
    assert boxes().tobytes() == Image.new("RGB", (400, 300), "black").tobytes()


# Sizes


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ((64, 48), (320, 240)),
        ((240, 1000), (240, 1000)),
        ((100, 7000), (100, 7000)),
        ((100, 4000), (200, 8000)),
        ((1, 1), (240, 240)),
    ],
)
def test_small_images_are_drawn_enlarged(size: tuple[int, int], drawn: tuple[int, int]) -> None:
    assert boxes(size=size).size == drawn
    mask = torch.zeros(size[1], size[0], dtype=torch.uint8)
    assert draw.draw_mask(Image.new("RGB", size), mask, [area(0)]).size == drawn


def test_boxes_grow_with_their_image() -> None:
    left, _, right, bottom = where(boxes((10, 20, 60, 40), size=(80, 60)), 1)
    assert (left, right, bottom) == (40, 240, 160)


def test_letters_grow_with_the_image() -> None:
    small, large = (where(boxes((0, 0, *size), size=size), 1) for size in ((400, 300), (4000, 3000)))
    assert large[2] > small[2]
    heights = [draw._text_size(Image.new("L", size)) for size in ((30, 30), (512, 512), (4000, 3000))]
    assert heights == [13, 13, 87]


def test_a_name_longer_than_the_image_is_cut() -> None:
    detection = Detection(1, "a name that is far too long for any picture of this width", 0.5, (0, 30, 100, 100))
    drawn = draw.draw_boxes(Image.new("RGB", (240, 240)), [detection])
    assert drawn.size == (240, 240)
    assert where(drawn, 1)[2] <= 240


def test_grey_images_are_drawn_on_in_colour() -> None:
    found = Detected(Path("a.png"), Image.new("L", (400, 300)), (Detection(1, None, 0.5, (10, 50, 90, 90)),), 0.5)
    assert where(draw.draw(found), 1)[0] == 10
    mask = torch.ones(300, 400, dtype=torch.uint8)
    segmented = Segmented(Path("a.png"), Image.new("L", (400, 300)), mask, (area(1),))
    assert draw.draw(segmented).getpixel((5, 5)) == (76, 0, 0)


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="a `Classified` has no mask and no boxes"):
        draw.draw(Classified(Path("a.png"), ()))


# Letters


def test_one_name_that_no_font_has_costs_no_other_its_letters() -> None:
    font = draw._font(20, ["cat", "собака", "\ue000"])
    assert draw.writes(font, "cat")
    if draw._opened("DejaVuSans.ttf", 20):
        assert draw.writes(font, "собака")
    assert draw._font(20, ["cat", "dog"]) == draw._own_font(20) or draw._font(20, ["cat"]).getname()[0] == "Aileron"


def test_letters_that_no_font_has_become_the_classs_number() -> None:
    font = ImageFont.load_default(20)
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert draw.writes(font, "traffic light 0.5%")
    assert not draw.writes(font, "pies 犬")
    assert draw._label(font, 7, "cat", "0.50") == "cat 0.50"
    assert draw._label(font, 7, "犬", "0.50") == "class 7 0.50"
    assert draw._label(font, 7, None, "0.50") == "class 7 0.50"
    assert draw._label(font, 7, "\x1b[2J", "0.50") == "class 7 0.50"
