"""A spec that comes with weights may be a stranger's: it is read as data, and nothing in it runs."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

import archc
from archc.prediction.trained import find

SPEC = """
name: evil
stages:
  a:
  - {{block: {block}, out: 4, kernel: 3}}
  b: [{{block: pool}}, {{block: linear, out: 5}}]
num_classes: {classes}
"""


def planted(form: str, directory: Path, spec: str) -> Path:
    """The spec in a directory of `archc build`, in a safetensors file's metadata, or in a Keras file."""
    if form == "directory":
        (directory / "spec.yaml").write_text(spec)
        (directory / "model.safetensors").write_bytes(b"")
        return directory
    path = directory / f"model.{form}"
    if form == "safetensors":
        save_file({"weight": torch.zeros(1)}, path, {"archc_spec": spec})
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps({"config": {"archc_spec": spec}}))
    return path


FORMS = pytest.mark.parametrize("form", ["directory", "safetensors", "keras"])


@FORMS
def test_a_plain_spec_is_read(form: str, tmp_path: Path) -> None:
    found = find(planted(form, tmp_path, SPEC.format(block="conv", classes=5)))
    assert (found.spec.name, found.spec.num_classes) == ("evil", 5)
    assert found.weights.name == ("model.safetensors" if form == "directory" else f"model.{form}")


@FORMS
def test_nothing_is_imported(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_block.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    network = planted(form, tmp_path, SPEC.format(block="evil_block:Block", classes=5))
    with pytest.raises(archc.SpecError) as caught:
        find(network)
    assert "cannot import `evil_block:Block`" in caught.value.diagnostics[0].message
    assert caught.value.diagnostics[0].span is not None
    assert "evil_block" not in sys.modules
    assert not (tmp_path / "ran").exists()


@FORMS
@pytest.mark.parametrize("call", ["${oc.env:SECRET}", "${ evil : 7 }", "${oc.decode:${oc.env:SECRET}}", "a${evil:1}b"])
def test_no_resolver_is_called(form: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1234")
    called: list[object] = []
    OmegaConf.register_new_resolver("evil", called.append)
    try:
        with pytest.raises(archc.SpecError) as caught:
            find(planted(form, tmp_path, SPEC.format(block="conv", classes=5) + f"vars: {{x: '{call}'}}\n"))
    finally:
        OmegaConf.clear_resolver("evil")
    assert called == []
    assert "calls a resolver; a spec that comes with weights cannot" in str(caught.value)
    assert "SPEC --weights FILE" in caught.value.diagnostics[0].help
    assert "1234" not in str(caught.value)


def test_a_resolver_by_a_computed_name_is_not_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1234")
    spec = SPEC.format(block="conv", classes=5) + "vars: {a: oc.env, x: '${${vars.a}:SECRET}'}\n"
    with pytest.raises(archc.SpecError, match="interpolation"):
        find(planted("directory", tmp_path, spec))


def test_references_are_read(tmp_path: Path) -> None:
    spec = SPEC.format(block="conv", classes="${vars.x}") + "vars: {x: 7}\n"
    assert find(planted("directory", tmp_path, spec)).spec.num_classes == 7


@FORMS
def test_no_other_file_is_read(form: str, tmp_path: Path) -> None:
    spec = "defaults: [mnv3_small, _self_]\nname: evil\n"
    with pytest.raises(archc.SpecError, match="cannot inherit from other files"):
        find(planted(form, tmp_path, spec))


def test_what_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "model.safetensors"
    os.mkfifo(pipe)
    with pytest.raises(archc.PredictionError, match="is not a regular file"):
        find(pipe)
    with pytest.raises(archc.PredictionError, match="is not a regular file"):
        find("mnv3_small", weights=pipe)
    with pytest.raises(archc.PredictionError, match="is not a regular file"):
        find("mnv3_small", weights="/dev/zero")
    (tmp_path / "spec.yaml").symlink_to("/dev/zero")
    with pytest.raises(archc.PredictionError, match=r"holds no spec\.yaml"):
        find(tmp_path)


def test_overrides_are_warned_of_but_the_builders_spec_is_not(tmp_path: Path) -> None:
    network = planted("directory", tmp_path, SPEC.format(block="conv", classes=5) + "dropout: 0.1\n")
    assert find(network).warnings == ()
    (warning,) = find(network, ["dropout=0.5"]).warnings
    assert warning.span is not None
    assert warning.span.source.kind == "override"


def test_weights_of_two_backends_are_not_chosen_from(tmp_path: Path) -> None:
    for name in ("spec.yaml", "model.safetensors", "model.keras"):
        (tmp_path / name).touch()
    for source, weights in ((str(tmp_path), None), ("mnv3_small", tmp_path)):
        with pytest.raises(archc.PredictionError, match=r"holds model\.safetensors and model\.keras") as caught:
            find(source, weights=weights)
        assert caught.value.diagnostic.help == "name the file to predict with"
