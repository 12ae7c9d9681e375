"""Where drawn images go, and that nothing is lost on the way."""

from __future__ import annotations

import os
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from archc.cli.drawings import FORMATS, places, save
from tests.prediction.samples import noise


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def placed(output: str, *images: str, force: bool = False) -> list[str]:
    found = places(Path(output), [Path(image) for image in images], force)
    assert list(found) == [Path(image) for image in images]
    return [str(place) for place in found.values()]


def test_one_image_goes_into_the_file() -> None:
    assert placed("out.png", "a/cat.jpg") == ["out.png"]
    assert placed("new/OUT.JPG", "a/cat.jpg") == ["new/OUT.JPG"]


def test_images_keep_their_names_in_a_directory(here: Path) -> None:
    assert placed("out", "a/cat.jpg") == ["out/cat.jpg"]
    assert placed("out", "a/cat.jpg", "b/dog.PNG") == ["out/cat.jpg", "out/dog.PNG"]
    assert placed("run.v2", "a/cat.jpg", "b/dog.png") == ["run.v2/cat.jpg", "run.v2/dog.png"]
    (here / "out.png").mkdir()
    assert placed("out.png", "a/cat.jpg") == ["out.png/cat.jpg"]


def test_what_cannot_be_written_becomes_png() -> None:
    assert placed("out", "scan.jp2", "photo", "scan.jp2.jpg") == [
        "out/scan.jp2.png",
        "out/photo.png",
        "out/scan.jp2.jpg",
    ]


@pytest.mark.parametrize(
    ("output", "images", "message"),
    [
        ("out.png", ["a.png", "b.png"], "names one file, but there are 2 images: name a directory"),
        ("out.avif", ["a.png", "b.png"], "names one file, but there are 2 images"),
        ("out.txt", ["a.png"], "`-o out.txt`: `.txt` cannot be written; .bmp, .jpeg, "),
        ("out.avif", ["a.png"], "`.avif` cannot be written"),
        ("out", ["a/cat.png", "b/cat.png"], "`a/cat.png` and `b/cat.png` would both be drawn to `out/cat.png`"),
        ("out", ["a/cat.png", "b/CAT.png"], "would both be drawn to"),
        ("out", ["cat.png.png", "cat.png", "cat.jp2", "cat.jp2.png"], "`cat.jp2` and `cat.jp2.png` would both be"),
    ],
)
def test_what_is_refused(output: str, images: list[str], message: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        placed(output, *images)
    assert message in str(caught.value)


def test_names_that_become_too_long(here: Path) -> None:
    """A name that just fits is written; one that does not is refused before anything is written."""
    longest = "x" * 251 + ".png"
    save(noise(8, 8), here / longest)
    assert [entry.name for entry in here.iterdir()] == [longest]
    assert placed("out", f"a/{longest}") == [f"out/{longest}"]
    for image in ("y" * 250 + ".jp2", "é" * 125 + ".jp2"):
        with pytest.raises(click.UsageError, match="has a name of more than 255 bytes; rename the image"):
            placed("out", "a/cat.png", f"a/{image}")


def test_what_exists_is_kept_unless_forced(here: Path) -> None:
    (here / "out.png").touch()
    with pytest.raises(click.UsageError, match=r"out\.png exists already; `--force` overwrites"):
        placed("out.png", "a.png")
    assert placed("out.png", "a.png", force=True) == ["out.png"]


def test_images_are_never_drawn_over(here: Path) -> None:
    save(noise(8, 8), here / "a.png")
    for output, images in [
        ("a.png", ["a.png"]),
        (".", ["a.png", "b.png"]),
        (f"{here}/../{here.name}/a.png", ["a.png"]),
    ]:
        with pytest.raises(click.UsageError, match="is one of the images"):
            placed(output, *images, force=True)


def test_messages_cannot_move_the_cursor() -> None:
    for output, images in (("\x1b[2J.txt", ["a.png"]), ("out", ["\x1b[2J/a.png", "b/a.png"]), ("\n.png", ["a", "b"])):
        with pytest.raises(click.UsageError) as caught:
            placed(output, *images)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_suffix_is_the_format(here: Path, suffix: str) -> None:
    picture = noise(60, 40)
    place = here / "new" / f"a{suffix.upper()}"
    save(picture, place)
    with Image.open(place) as found:
        assert found.format == FORMATS[suffix][0]
        off = np.abs(np.asarray(found.convert("RGB"), int) - np.asarray(picture, int))
    assert off.mean() < (10 if suffix in (".jpg", ".jpeg", ".webp") else 1e-9)
    assert [entry.name for entry in place.parent.iterdir()] == [place.name]


def test_a_image_too_large_for_its_format(here: Path) -> None:
    with pytest.raises(click.ClickException, match="WEBP cannot hold 20000×10 pixels"):
        save(Image.new("RGB", (20_000, 10)), here / "a.webp")
    assert list(here.iterdir()) == []


def test_a_place_that_cannot_be_written(here: Path) -> None:
    (here / "file").touch()
    with pytest.raises(click.ClickException, match=r"a\.png: "):
        save(noise(8, 8), here / "file" / "a.png")
    (here / "b.png").mkdir()
    with pytest.raises(click.ClickException, match="Is a directory"):
        save(noise(8, 8), here / "b.png")
    assert sorted(entry.name for entry in here.iterdir()) == ["b.png", "file"]


def test_a_file_that_appears_meanwhile_is_kept(here: Path) -> None:
    (here / "a.png").write_bytes(b"mine")
    with pytest.raises(click.ClickException, match="File exists"):
        save(noise(8, 8), here / "a.png", overwrite=False)
    assert (here / "a.png").read_bytes() == b"mine"


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_others_may_read_what_the_umask_lets_them(here: Path) -> None:
    previous = os.umask(0o027)
    try:
        save(noise(8, 8), here / "a.png")
    finally:
        os.umask(previous)
    assert (here / "a.png").stat().st_mode & 0o777 == 0o640
