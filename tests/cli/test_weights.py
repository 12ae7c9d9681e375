"""`archc weights`: what it says of a checkpoint, and what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision.models as tv
from safetensors.torch import load_file

import archc
from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torchvision's MobileNetV3-Small with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save({"model": tv.mobilenet_v3_small().state_dict(), "epoch": 600}, path)
    return path


def test_the_mapping_is_summed_up_by_stage(run: Run, small: Path) -> None:
    result = run("weights", "mnv3_small", str(small))
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "small.pth fits mobilenet_v3_small",
        "source: torchvision's names (mobilenet_v3), detected by its names",
        "taken under `model`",
        "",
        "stage  tensors     params",
        "─────────────────────────",
        "stem         6        464",
        "c2          16        744",
        "c3          36      9,280",
        "c4         110    180,032",
        "c5          72    736,488",
        "head         4  1,615,848",
        "─────────────────────────",
        "total      244  2,542,856",
    ]


def test_json_has_every_number(run: Run, small: Path) -> None:
    found = run("weights", "mnv3_small", str(small), "num_classes=7", "--partial", "head", "--json").json
    assert (found["spec"], found["source"], found["tensors"]) == ("mobilenet_v3_small", "torchvision", 240)
    assert found["left"] == [f"head.{n}.linear.{w}" for n in (1, 3) for w in ("weight", "bias")]
    assert found["skipped"] == [f"classifier.{n}.{w}" for n in (0, 3) for w in ("weight", "bias")]


def test_what_does_not_fit_ends_in_a_report(run: Run, small: Path) -> None:
    result = run("weights", "mnv3_small", str(small), "width_mult=0.75", "num_classes=21")
    assert (result.code, result.out) == (1, "")
    assert "error[weights-mismatch]: `small.pth` does not fit `mobilenet_v3_small`" in result.err
    assert "c3.0: `expand.conv.weight` is [56, 16, 1, 1] here, [72, 16, 1, 1] in the checkpoint" in result.err
    assert "help: this checkpoint fits with `width_mult=1.0 num_classes=1000`" in result.err


def test_policies_are_warned_of(run: Run, small: Path) -> None:
    result = run("weights", "timm_mnv3_small", str(small))
    assert result.code == 0
    assert "warning[weights-policy]: the batch norms' eps is 1e-05 here, and 0.001 in torchvision" in result.err
    assert "help: `norm.eps=0.001` does as torchvision does" in result.err


@pytest.mark.parametrize("names", ["archc", "torchvision", "timm"])
def test_conversion(run: Run, small: Path, tmp_path: Path, names: str) -> None:
    output = tmp_path / "out.safetensors"
    result = run("weights", "mnv3_small", str(small), "-o", str(output), "--names", names)
    assert result.code == 0
    assert result.out.splitlines()[-1] == f"wrote {output}: 244 tensors under {names}'s names"
    model = archc.build("mnv3_small", device="meta")
    archc.load_weights(model, output)
    expected = torch.load(small, weights_only=True)["model"]
    assert torch.equal(model.state_dict()["stem.0.conv.weight"], expected["features.0.0.weight"])
    if names == "torchvision":
        tv.mobilenet_v3_small().load_state_dict(load_file(output), strict=True)
    again = run("weights", "mnv3_small", str(small), "-o", str(output))
    assert (again.code, "weights-exists" in again.err) == (2, True)
    assert run("weights", "mnv3_small", str(small), "-o", str(output), "--force").code == 0


def test_what_build_writes_is_read_again(run: Run, tmp_path: Path) -> None:
    assert run("build", "mnv3_small", "width_mult=0.5", "-o", str(tmp_path / "net")).code == 0
    assert run("weights", str(tmp_path / "net" / "spec.yaml"), str(tmp_path / "net")).code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mnv3_small"], "Name a spec, and the checkpoint"),
        (["mnv3_small", "a.pth", "b.pth"], "`b.pth` is one file too many"),
        (["mnv3_small", "none.pth"], "No such file"),
        (["mnv3_small", "pyproject.toml"], "is no checkpoint"),
        (["mnv3_small", "none.pth", "--source", "tim"], "did you mean `timm`?"),
        (["mnv3_small", "none.pth", "--partial", "heda"], "did you mean `head`?"),
    ],
)
def test_a_wrong_command_line(run: Run, arguments: list[str], said: str) -> None:
    result = run("weights", *arguments)
    assert result.code == 2
    assert said in result.err


def test_a_file_that_looks_like_an_override(run: Run, small: Path, tmp_path: Path) -> None:
    path = tmp_path / "epoch=600.pth"
    path.write_bytes(small.read_bytes())
    assert run("weights", "mnv3_small", str(path)).code == 0
