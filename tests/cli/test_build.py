from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import archc
from archc.cli import counting
from tests.cli.conftest import Run

SPEC = ("mnv3_small", "width_mult=0.35", "num_classes=10", "input.size=64")


def test_build_verifies_what_was_computed(run: Run) -> None:
    result = run("build", *SPEC)
    model = archc.build(archc.load(SPEC[0], SPEC[1:]), device="meta")
    params = sum(parameter.numel() for parameter in model.parameters())
    assert result.code == 0
    assert f"verified: the module has {params:,} parameters and " in result.out
    assert result.out.startswith("mobilenet_v3_small  3×64×64  width_mult=0.35")


@pytest.mark.parametrize("wrong", ["params", "macs"])
def test_a_mismatch_is_an_error_with_both_numbers(run: Run, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    report = archc.report(archc.load(SPEC[0], SPEC[1:]))
    if wrong == "params":
        monkeypatch.setattr(archc, "build", lambda *_, **__: torch.nn.Linear(2, 3))
        monkeypatch.setattr(counting, "meta_flops", lambda _: {"conv": 2 * report.macs})
        numbers = f"computed {report.params:,}, counted 9"
    else:
        monkeypatch.setattr(counting, "meta_flops", lambda _: {"conv": 42})
        numbers = f"computed {2 * report.macs:,}, counted 42"
    result = run("build", *SPEC)
    assert result.code == 1
    assert numbers in result.err
    assert "verified" not in result.out


def test_the_directory_holds_spec_report_and_weights(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    assert run("build", *SPEC, "-o", str(target)).code == 0
    assert sorted(path.name for path in target.iterdir()) == ["model.safetensors", "report.json", "spec.yaml"]
    assert list(target.parent.iterdir()) == [target], "nothing is left beside it"

    report = json.loads((target / "report.json").read_text())
    assert report == run("report", *SPEC, "--json").json
    assert report == run("report", str(target / "spec.yaml"), "--json").json, "the resolved spec is the same network"

    model = archc.build(str(target / "spec.yaml"))
    model.load_state_dict(load_file(target / "model.safetensors"))
    with safe_open(target / "model.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["archc_version"] == archc.__version__
    assert metadata["archc_spec"] == (target / "spec.yaml").read_text()


def test_the_files_are_as_readable_as_any(run: Run, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    assert run("build", *SPEC, "-o", str(tmp_path / "out")).code == 0
    modes = {path.stat().st_mode for path in (tmp_path / "out").iterdir()}
    assert modes == {(tmp_path / "plain").stat().st_mode}


def test_too_large_for_this_machine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    monkeypatch.setattr(archc, "build", fail)
    result = run("build", *SPEC)
    assert result.code == 1
    assert "there is not enough memory" in result.err


def test_weights_depend_on_the_seed_alone(run: Run, tmp_path: Path) -> None:
    def weights(name: str, *options: str) -> dict[str, torch.Tensor]:
        assert run("build", *SPEC, "-o", str(tmp_path / name), *options).code == 0
        return load_file(tmp_path / name / "model.safetensors")

    torch.manual_seed(1)
    first = weights("a", "--seed", "7")
    torch.manual_seed(2)
    again, other = weights("b", "--seed", "7"), weights("c", "--seed", "8")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_nothing_is_overwritten_without_force(run: Run, tmp_path: Path) -> None:
    mine = tmp_path / "report.json"
    mine.write_text("mine")
    result = run("build", *SPEC, "-o", str(tmp_path))
    assert result.code == 2
    assert "report.json exists already" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert mine.read_text() == "mine"
    assert run("build", *SPEC, "-o", str(tmp_path), "--force").code == 0
    assert json.loads(mine.read_text())["name"] == "mobilenet_v3_small"


def test_other_files_of_a_directory_stay(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert run("build", *SPEC, "-o", str(tmp_path)).code == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "model.safetensors").exists()


def test_a_failure_while_writing_leaves_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.numpy

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "model.safetensors")

    monkeypatch.setattr(safetensors.numpy, "save_file", fail)
    result = run("build", *SPEC, "-o", str(tmp_path / "out"))
    assert result.code == 2
    assert "No space left on device" in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_spec_writes_nothing(run: Run, tmp_path: Path) -> None:
    assert run("build", "mnv3_small", "input.size=0", "-o", str(tmp_path / "out")).code == 1
    assert list(tmp_path.iterdir()) == []
