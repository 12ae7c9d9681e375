from __future__ import annotations

import os
from pathlib import Path

import pytest

from archc.prediction.errors import PredictionError
from archc.prediction.sources import find_images, looks_like_image


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.png", "deep/c.webp", "deep/deeper/d.jpg", "odd[1].png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos" / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*sources: str) -> list[str]:
    return [str(path) for path in find_images(sources)]


def test_a_file_whatever_its_name() -> None:
    assert found("photos/notes.txt", "photos/a.png") == ["photos/notes.txt", "photos/a.png"]


def test_a_directory_one_level_deep_sorted() -> None:
    assert found("photos") == ["photos/a.png", "photos/b.JPG", "photos/odd[1].png"]
    assert found("photos/") == found("photos")


def test_globs() -> None:
    assert found("photos/*.JPG") == ["photos/b.JPG"]
    assert found("photos/**/*.jpg") == ["photos/deep/deeper/d.jpg"]
    assert found("photos/deep/**") == ["photos/deep/c.webp", "photos/deep/deeper/d.jpg"]
    assert found("photos/[ab].*") == ["photos/a.png", "photos/b.JPG"]


def test_a_path_that_exists_is_no_glob() -> None:
    assert found("photos/odd[1].png") == ["photos/odd[1].png"]


def test_each_image_once_in_the_order_given() -> None:
    assert found("photos/b.JPG", "photos", "photos/*.png") == ["photos/b.JPG", "photos/a.png", "photos/odd[1].png"]


def test_home(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    assert found("~/photos/*.JPG") == [str(here / "photos" / "b.JPG")]


def test_a_directory_that_a_link_leads_to() -> None:
    os.symlink("photos", "link")
    os.symlink("nowhere", "photos/broken.png")
    assert found("link") == ["link/a.png", "link/b.JPG", "link/odd[1].png"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("empty", "the directory `empty` holds no images"),
        ("nothing.png", "there is no file `nothing.png`"),
        ("photos/*.gif", "no file matches `photos/*.gif`"),
        ("x" * 5000, "there is no file"),
        ("a\0b.png", "there is no file"),
    ],
)
def test_what_stands_for_nothing_is_an_error(source: str, message: str) -> None:
    with pytest.raises(PredictionError) as caught:
        found("photos/a.png", source)
    assert caught.value.diagnostic.id == "no-images"
    assert message in caught.value.diagnostic.message


def test_a_directory_of_directories_says_how() -> None:
    (Path("empty") / "inner").mkdir()
    with pytest.raises(PredictionError) as caught:
        found("empty/")
    assert "'empty/**/*.jpg'" in caught.value.diagnostic.help


def test_images_are_told_from_overrides() -> None:
    Path("width=2").touch()
    assert looks_like_image("width=2")
    assert looks_like_image("run=3/*.png")
    assert looks_like_image("~/photos/*.JPG")
    assert not looks_like_image("width_mult=0.5")
    assert not looks_like_image("~stages.c5")
