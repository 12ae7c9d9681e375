"""Files appear whole or not at all, in the right place and with the right permissions."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from archc import files
from archc.files import replacing, replacing_together, write_bytes, write_text

NAMES = ("spec", "report", "model")


def entries(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def fill(staging: Path, text: str, names: tuple[str, ...] = NAMES) -> None:
    for name in names:
        (staging / name).write_text(text)


def within(context: AbstractContextManager[Path], action: Callable[[Path], object]) -> None:
    """Do something with what is staged."""
    with context as staged:
        action(staged)


def failing(error: BaseException) -> Callable[[Path], object]:
    def action(staged: Path) -> None:
        if staged.is_dir():
            fill(staged, "new")
        else:
            staged.write_text("new")
        raise error

    return action


def while_appears(path: Path) -> Callable[[Path], object]:
    """Write what was asked for while another program writes the same path."""

    def action(staged: Path) -> None:
        if staged.is_dir():
            fill(staged, "mine")
        else:
            staged.write_text("mine")
        path.write_text("yours")

    return action


def test_a_file_is_written_with_the_umasks_permissions(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "µ")
        write_bytes(tmp_path / "b", b"\xff")
    finally:
        os.umask(previous)
    assert (tmp_path / "a").read_bytes() == "µ".encode()
    assert (tmp_path / "b").read_bytes() == b"\xff"
    assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()] == [0o640, 0o640]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    with replacing(target) as staged:
        staged.write_text("new")
        assert target.read_text() == "old"
        assert staged.name == "a"
    assert target.read_text() == "new"
    assert entries(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    with pytest.raises(error):
        within(replacing(target), failing(error()))
    assert target.read_text() == "old"
    with pytest.raises(error):
        within(replacing_together(tmp_path / "new" / "inner", NAMES), failing(error()))
    assert entries(tmp_path) == ["a"]


def test_nothing_is_overwritten_unless_allowed_whenever_it_appears(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with pytest.raises(FileExistsError) as caught:
        within(replacing(target, overwrite=False), while_appears(target))
    assert caught.value.filename == str(target)
    assert target.read_text() == "yours"
    with pytest.raises(FileExistsError):
        write_text(target, "mine", overwrite=False)
    assert entries(tmp_path) == ["a"]


def test_a_link_that_points_nowhere_exists(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        write_text(link, "new", overwrite=False)
    assert link.is_symlink()
    write_text(link, "new")
    assert not link.is_symlink()
    assert entries(tmp_path) == ["link"]


def test_the_target_of_a_link_is_kept(tmp_path: Path) -> None:
    (tmp_path / "shared").write_text("shared")
    (tmp_path / "link").symlink_to("shared")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "shared").read_text() == "shared"
    assert (tmp_path / "link").read_text() == "new"


def test_file_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: object, target: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", str(source), None, str(target))

    monkeypatch.setattr(files.os, "link", link)
    write_text(tmp_path / "a", "mine", overwrite=False)
    assert (tmp_path / "a").read_text() == "mine"
    with pytest.raises(FileExistsError) as caught:
        within(replacing(tmp_path / "b", overwrite=False), while_appears(tmp_path / "b"))
    assert caught.value.filename == str(tmp_path / "b")
    assert (tmp_path / "b").read_text() == "yours"
    assert entries(tmp_path) == ["a", "b"]


def test_errors_name_the_target(tmp_path: Path) -> None:
    def failure(target: Path) -> tuple[int | None, str]:
        with pytest.raises(OSError, match=r".") as caught:
            write_text(target, "x")
        return caught.value.errno, caught.value.filename

    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for name, number in [
        ("missing/a", errno.ENOENT),
        ("directory", errno.EISDIR),
        ("pipe", errno.EINVAL),
        ("file/a", errno.ENOTDIR),
        ("n" * 300, errno.ENAMETOOLONG),
    ]:
        assert failure(tmp_path / name) == (number, str(tmp_path / name))
    with pytest.raises(OSError, match="from elsewhere") as caught, replacing(tmp_path / "a"):
        raise OSError(errno.EIO, "from elsewhere", "another")
    assert caught.value.filename == "another"
    with pytest.raises(OSError, match="nameless") as caught, replacing(tmp_path / "a"):
        raise OSError(errno.EIO, "nameless")
    assert caught.value.filename == str(tmp_path / "a")
    assert entries(tmp_path) == ["directory", "file", "pipe"]


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("n" * 255), "x")
    assert entries(tmp_path) == ["n" * 255]


def test_a_full_disk(tmp_path: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path; from archc.files import write_bytes\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_bytes(Path(sys.argv[1]), bytes(10_000))\n"
        "except OSError as error: print(error.strerror, error.filename)"
    )
    (tmp_path / "a").write_text("old")
    command = [sys.executable, "-c", program, str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"File too large {tmp_path / 'a'}\n"
    assert (tmp_path / "a").read_text() == "old"
    assert entries(tmp_path) == ["a"]


def test_files_that_belong_together(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with replacing_together(target, NAMES, overwrite=False) as staging:
        assert staging.parent == target, "the parent may be read-only, or another file system"
        fill(staging, "first")
    (target / "notes").write_text("mine")
    (target / "other").write_text("of another backend")
    with replacing_together(target, NAMES, ["other"]) as staging:
        fill(staging, "second")
        assert (target / "model").read_text() == "first"
    assert {name: (target / name).read_text() for name in NAMES} == dict.fromkeys(NAMES, "second")
    assert entries(target) == ["model", "notes", "report", "spec"]


@pytest.mark.parametrize("existing", ["spec", "report", "model", "other"])
def test_of_two_writers_at_once_one_wins(tmp_path: Path, existing: str) -> None:
    target = tmp_path / "out"
    with pytest.raises(FileExistsError) as caught:
        within(replacing_together(target, NAMES, ["other"], overwrite=False), while_appears(target / existing))
    assert caught.value.filename == str(target / existing)
    assert entries(target) == [existing]
    assert (target / existing).read_text() == "yours"


def test_a_race_for_the_second_file_takes_the_first_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def late(source: Path, target: Path) -> None:
        if target.name == "report":
            target.write_text("yours")
        link(source, target)

    monkeypatch.setattr(files.os, "link", late)
    with (
        pytest.raises(FileExistsError),
        replacing_together(tmp_path, NAMES, overwrite=False) as staging,
    ):
        fill(staging, "mine")
    assert entries(tmp_path) == ["report"]
    assert (tmp_path / "report").read_text() == "yours"


@pytest.mark.parametrize("replaced", [0, 1, 2])
def test_an_interrupted_replacement_lacks_the_last_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: int
) -> None:
    fill(tmp_path, "old")
    (tmp_path / "other").write_text("old")
    replace, done = os.replace, []

    def killed(source: Path, target: Path) -> None:
        if len(done) == replaced:
            raise KeyboardInterrupt
        replace(source, target)
        done.append(target.name)

    monkeypatch.setattr(files.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt), replacing_together(tmp_path, NAMES, ["other"]) as staging:
        fill(staging, "new")
    assert done == list(NAMES[:replaced])
    assert entries(tmp_path) == ["report", "spec"], "neither the last file nor an obsolete one"


def test_a_directory_in_the_way_changes_nothing(tmp_path: Path) -> None:
    fill(tmp_path, "old")
    (tmp_path / "other").mkdir()
    with pytest.raises(IsADirectoryError), replacing_together(tmp_path, NAMES, ["other"]) as staging:
        fill(staging, "new")
    assert {(tmp_path / name).read_text() for name in NAMES} == {"old"}


def test_those_that_may_overwrite_take_turns(tmp_path: Path) -> None:
    """Each of many processes writes three equal files; whichever comes last, the three are its own."""
    program = (
        "import sys; from pathlib import Path; from archc.files import replacing_together\n"
        "names = ('spec', 'report', 'model')\n"
        "for turn in range(50):\n"
        "    with replacing_together(Path(sys.argv[1]), names) as staging:\n"
        "        for name in names: (staging / name).write_text(f'{sys.argv[2]} {turn}')\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = [subprocess.Popen([*command, str(number)]) for number in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    assert len({(tmp_path / name).read_text() for name in NAMES}) == 1
    assert entries(tmp_path) == sorted(NAMES)
