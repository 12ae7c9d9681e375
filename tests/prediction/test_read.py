"""Images of every kind are opened as a person sees them; others are refused with the reason."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import skimage.io
from PIL import Image

from archc.document.rules import RULES
from archc.prediction import images
from archc.prediction.errors import ImageError
from archc.prediction.images import read
from tests.prediction.samples import noise, save


def problem(path: Path) -> str:
    """The id of what is wrong; the message names the file."""
    with pytest.raises(ImageError) as caught:
        read(path)
    diagnostic = caught.value.diagnostic
    assert str(path) in diagnostic.message
    assert RULES[diagnostic.id].exit_code == 1
    return f"{diagnostic.id}: {diagnostic.message.removeprefix(f'`{path}` ')}"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpg", "png", "tiff", "webp"])
def test_exif_orientation(tmp_path: Path, orientation: int, form: str) -> None:
    upright = noise(64, 48)
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turned[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if form == "jpg" else {"lossless": True} if form == "webp" else {}
    opened = read(save(stored, tmp_path / f"a.{form}", exif=exif, **options))
    assert opened.size == upright.size
    assert abs(np.asarray(opened, int) - np.asarray(upright)).mean() < (3 if form == "jpg" else 1e-9)


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03", b"Exif\0\0"])
def test_broken_exif_is_no_broken_image(tmp_path: Path, exif: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read(save(noise(64, 48), tmp_path / "a.jpg", exif=exif)).size == (64, 48)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_modes_become_rgb_as_pillow_has_it(tmp_path: Path, mode: str) -> None:
    image = noise(40, 30).convert(mode)
    opened = read(save(image, tmp_path / ("a.tif" if mode == "CMYK" else "a.png")))
    assert opened.mode == "RGB"
    assert np.array_equal(np.asarray(opened), np.asarray(image.convert("RGB")))


def test_a_palette_with_transparency(tmp_path: Path) -> None:
    image = noise(40, 30).quantize(16)
    opened = read(save(image, tmp_path / "a.gif", transparency=3))
    assert np.array_equal(np.asarray(opened), np.asarray(image.convert("RGB")))


def test_transparency_is_dropped(tmp_path: Path) -> None:
    image = noise(40, 30)
    clear = image.copy()
    clear.putalpha(0)
    assert np.array_equal(np.asarray(read(save(clear, tmp_path / "a.png"))), np.asarray(image))


def test_cmyk_jpeg(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 32), (250, 20, 30))
    opened = read(save(image.convert("CMYK"), tmp_path / "a.jpg", quality=100))
    assert abs(np.asarray(opened, int) - np.asarray(image)).max() < 6


@pytest.mark.parametrize("form", ["png", "tif", "pgm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_not_cut_off(tmp_path: Path, form: str, channels: int) -> None:
    grey = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)
    opened = read(save(Image.fromarray(grey), tmp_path / f"a.{form}"), channels)
    assert opened.mode == ("L" if channels == 1 else "RGB")
    assert np.array_equal(np.asarray(opened.convert("L")), grey >> 8)


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    path = save(first, tmp_path / "a.gif", save_all=True, append_images=[second])
    assert read(path).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("form", ["bmp", "gif", "jp2", "png", "ppm", "tif", "webp", "avif", "dib"])
def test_every_format_is_told_by_its_bytes(tmp_path: Path, form: str) -> None:
    path = save(noise(40, 30), tmp_path / f"a.{form}")
    assert read(path.rename(tmp_path / "picture")).size == (40, 30)


def test_a_camera_s_several_images_in_one_file(tmp_path: Path) -> None:
    first, second = noise(40, 30), noise(20, 10)
    path = save(first, tmp_path / "a.mpo", save_all=True, append_images=[second])
    assert read(path.rename(tmp_path / "a.jpg")).size == (40, 30)


def test_floating_point_and_32_bits_are_ambiguous(tmp_path: Path) -> None:
    values = np.linspace(-1, 70_000, 40 * 30).reshape(30, 40)
    floats = save(Image.fromarray(values.astype(np.float32)), tmp_path / "f.tif")
    integers = save(Image.fromarray(values.astype(np.int32)), tmp_path / "i.tif")
    assert problem(floats) == "unsupported-image: holds floating-point numbers"
    assert problem(integers) == "unsupported-image: has 32 bits per pixel"
    lab = save(Image.new("LAB", (8, 8)), tmp_path / "lab.tif")
    assert problem(lab) == "unsupported-image: is in CIE LAB colours"


@pytest.mark.parametrize("kind", [np.int32, np.int16, np.uint32])
@pytest.mark.parametrize("most", [255, 30_000])
def test_integers_of_unknown_range_are_ambiguous(tmp_path: Path, kind: type, most: int) -> None:
    """Are 0 to 255 in 32 bits a bright image, or an almost black one?"""
    values = np.linspace(0, most, 40 * 30).reshape(30, 40).astype(kind)
    path = tmp_path / "i.tif"
    skimage.io.imsave(path, values, check_contrast=False)
    assert problem(path) == "unsupported-image: has 32 bits per pixel"


def test_what_is_no_image(tmp_path: Path) -> None:
    for name, content, message in [
        ("empty.jpg", b"", "not-an-image: is empty"),
        ("text.png", b"hello, world\n", "not-an-image: is no image"),
        ("start.png", b"\x89PNG\r\n\x1a\n", "not-an-image: is no image"),
        (
            "postscript.eps",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
            "not-an-image: is no image",
        ),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        assert problem(path) == message


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    assert problem(tmp_path) == "unreadable-image: is not a file"
    assert problem(tmp_path / "gone.png") == "unreadable-image: is not a file"
    os.mkfifo(tmp_path / "pipe.png")
    assert problem(tmp_path / "pipe.png") == "unreadable-image: is not a file"


def test_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = save(noise(8, 8), tmp_path / "a.png")
    monkeypatch.setattr(Path, "open", refuse)
    assert problem(path) == "unreadable-image: cannot be read: Permission denied"


@pytest.mark.parametrize("form", ["jpg", "png", "gif", "tif", "webp", "bmp"])
def test_truncated_files(tmp_path: Path, form: str) -> None:
    path = save(noise(200, 150), tmp_path / f"a.{form}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert problem(path).startswith("damaged-image: is ")
    if form in ("jpg", "png"):
        assert problem(path).endswith("is truncated: the file ends before the image does")


@pytest.mark.parametrize("form", ["jpg", "png", "gif", "tif", "webp", "bmp", "ppm", "jp2"])
def test_damaged_bytes_end_in_a_image_or_in_a_diagnostic(tmp_path: Path, form: str) -> None:
    content = save(noise(60, 40), tmp_path / f"a.{form}").read_bytes()
    generator = random.Random(form)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for trial in range(60):
            damaged = bytearray(content)
            for _ in range(generator.choice([1, 3, 20])):
                damaged[generator.randrange(len(damaged) if trial % 2 else min(200, len(damaged)))] = (
                    generator.randrange(256)
                )
            path = tmp_path / "damaged"
            path.write_bytes(damaged)
            with contextlib.suppress(ImageError):
                assert read(path).mode == "RGB"


def test_decompression_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(Image.new("1", (300, 300)), tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    assert problem(path) == "image-too-large: has too many pixels to be decoded"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read(path).size == (300, 300)


def test_no_memory_for_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    path = save(noise(8, 8), tmp_path / "a.png")
    monkeypatch.setattr(images, "_converted", fail)
    assert problem(path).startswith("image-too-large")


def test_errors_survive_pickling(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        read(tmp_path / "gone.png")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.diagnostics) == (ImageError, caught.value.diagnostics)
