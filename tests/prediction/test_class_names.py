"""Class names: published lists, and the user's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from archc.prediction.class_names import LARGEST_FILE, class_names, names_for, read_names
from archc.prediction.errors import PredictionError
from archc.prediction.task import Kind


@pytest.mark.parametrize(
    ("kind", "count", "some"),
    [
        ("classes", 1000, {967: "espresso", 285: "Egyptian cat"}),
        ("mask", 21, {0: "__background__", 8: "cat", 20: "tvmonitor"}),
        ("boxes", 91, {0: "__background__", 1: "person", 17: "cat", 90: "toothbrush"}),
    ],
)
def test_datasets_have_names(kind: Kind, count: int, some: dict[int, str]) -> None:
    names = names_for(kind, count)
    assert names is not None
    assert len(names) == count
    assert {index: names[index] for index in some} == some
    assert names_for(kind, count - 1) is None


@pytest.mark.parametrize(("kind", "count"), [("classes", 21), ("classes", 91), ("mask", 1000), ("boxes", 21)])
def test_a_number_alone_is_no_dataset(kind: Kind, count: int) -> None:
    assert names_for(kind, count) is None


def test_names_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    for text in ("cat\ndog\n", "cat\r\ndog\r\n\r\n", "\ufeffcat\n dog "):
        path.write_bytes(text.encode())
        assert read_names(path, 2) == ("cat", "dog")


def test_names_that_never_end(tmp_path: Path) -> None:
    """Devices and pipes are not read at all, and of a large file only the beginning."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "large").write_bytes(b"a\n" * (LARGEST_FILE // 2) + b"b")
    for path, message in (
        (Path("/dev/zero"), "is not a regular file"),
        (tmp_path / "link", "is not a regular file"),
        (tmp_path / "pipe", "is not a regular file"),
        (tmp_path, "is not a regular file"),
        (tmp_path / "large", "is larger than 16 MiB"),
        (Path("a\0b"), "cannot be read"),
    ):
        with pytest.raises(PredictionError, match=message) as caught:
            read_names(path, 2)
        assert caught.value.diagnostic.id == "class-names"


def test_names_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    for stated in (str(tmp_path / "names.txt"), tmp_path / "names.txt", ["cat", "dog"], ("cat", "dog")):
        assert class_names(stated, "classes", 2) == ("cat", "dog")
    assert class_names("none", "classes", 1000) is None
    assert class_names(None, "classes", 1000) == names_for("classes", 1000)
    with pytest.raises(PredictionError, match="`classes` has 2 names, but the network has 3 classes"):
        class_names(["cat", "dog"], "classes", 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cat\n", "has 1 name, but the network has 2 classes"),
        (b"cat\ndog\nbird\n", "has 3 names, but the network has 2 classes"),
        (b"", "has 0 names"),
        (b"cat\n\ndog\n", "a line without a name"),
        (b"caf\xe9\ndog\n", "is not UTF-8 text"),
        (None, "cannot be read: No such file"),
    ],
)
def test_names_that_do_not_fit(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "names.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PredictionError) as caught:
        read_names(path, 2)
    assert caught.value.diagnostic.id == "class-names"
    assert message in caught.value.diagnostic.message
