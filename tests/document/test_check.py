"""`archc.check`, `archc.specs`, `Spec.to_yaml` and `Spec.hash`."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import archc
from archc.document.values import FrozenDict
from tests.language.helpers import Folder, pointed

ROWS = "stages:\n  c1:\n    - {block: conv, out: 8}\n"


def test_specs_are_the_bundled_ones() -> None:
    assert {"mnv3_small", "resnet50", "mobilevit_xxs"} <= set(archc.specs())
    assert list(archc.specs()) == sorted(archc.specs())
    assert all(archc.load(name).name for name in archc.specs())


def test_a_sound_spec_has_nothing_to_tell() -> None:
    assert archc.check("mnv3_small") == ()
    assert archc.check("mnv3_small", ["width_mult=0.5,0.75,1"]) == ()


def test_errors_and_warnings_come_back_and_are_not_raised(folder: Folder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [d.id for d in archc.check("nothing_of_that_name")] == ["file-not-found"]
        assert [d.id for d in archc.check("mnv3_small", ["dropot=1"])] == ["unknown-key"]
        assert [d.id for d in archc.check("mnv3_small", ["width_mult="])] == ["invalid-value"]
        found = archc.check(
            folder.write("a.yaml", "depth_mult: 2\n" + ROWS + "    - {block: conv, out: 8, from: c9}\n")
        )
    assert [(d.severity, d.id) for d in found] == [("warning", "unused-setting"), ("error", "unknown-reference")]


def test_a_sweep_is_checked_whole() -> None:
    found = archc.check("mnv3_small", ["dropout=0.1,2,3"])
    assert [d.message for d in found] == [
        "`dropout` must be less than 1, not `2`",
        "`dropout` must be less than 1, not `3`",
    ]


def test_a_bad_reference_hides_no_other_mistake(folder: Folder) -> None:
    """Interpolations and values are checked in one run, and what depends on an unknown value is left alone."""
    text = (
        'act: rellu\ndropout: "${droput}"\nnum_classes: ${oc.env:NOT_SET_ANYWHERE_1}\ninput: {size: "${vars.size}"}\n'
        'vars: {size: "${nothing}"}\nstages:\n  c1:\n    - {block: conv, out: 8, kernal: 3}\n'
        '    - {block: dropout, rate: "${dropout}"}\n    - {block: linear, out: "${num_classes}", act: "${act}"}\n'
    )
    found = archc.check(folder.write("a.yaml", text))
    assert [(d.id, pointed(d.span)) for d in found] == [
        ("invalid-value", "rellu"),
        ("interpolation", '"${droput}"'),
        ("interpolation", "${oc.env:NOT_SET_ANYWHERE_1}"),
        ("interpolation", '"${nothing}"'),
        ("unknown-key", "kernal"),
    ]


def test_yaml_loads_again_and_the_hash_knows_all_of_it(tmp_path: Path) -> None:
    spec = archc.load("mnv3_small", ["width_mult=0.5"])
    path = tmp_path / "again.yaml"
    for full in (False, True):
        path.write_text(spec.to_yaml(full), encoding="utf-8")
        assert archc.load(path).hash == spec.hash
    assert spec.override(dropout=0.1).hash != spec.hash
    assert archc.load("mnv3_small", ["width_mult=0.5", "depth_mult=1"]).hash == spec.hash, "a default, written or not"
    assert len({archc.load(name).hash for name in archc.specs()}) == len(archc.specs())


def test_the_hash_knows_the_order_of_stages() -> None:
    conv, pool = [{"block": "conv", "out": 8}], [{"block": "dropout"}]
    one, other = (archc.load({"stages": stages}) for stages in ({"a": conv, "b": pool}, {"b": pool, "a": conv}))
    assert one.hash != other.hash
    assert one != other
    assert FrozenDict(a=1, b=2) == {"b": 2, "a": 1}


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_hash_is_the_same_in_every_process(seed: str) -> None:
    program = "import archc; print(archc.load('fasterrcnn_resnet50_fpn', ['width_mult=0.5']).hash)"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == archc.load("fasterrcnn_resnet50_fpn", ["width_mult=0.5"]).hash


def test_the_hash_is_that_of_the_full_text() -> None:
    spec = archc.load("mnv3_small")
    assert spec.hash == hashlib.sha256(spec.to_yaml(full=True).encode()).hexdigest()


def test_what_a_pass_has_rewritten_cannot_be_overridden() -> None:
    """An override starts from the text, so it would lose without a word what the passes did."""
    from archc import passes

    spec = archc.load("mnv3_small", ["width_mult=0.5"])
    scaled = passes.run(spec)
    assert scaled.hash != spec.hash
    assert scaled.span("dropout") == spec.span("dropout") != None  # noqa: E711
    with pytest.raises(TypeError, match="only a loaded document can be overridden"):
        scaled.override(dropout=0.1)
    assert spec.override(dropout=0.1).dropout == 0.1
