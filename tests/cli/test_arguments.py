from __future__ import annotations

from pathlib import Path

import pytest

from archc.cli.arguments import split
from tests.cli.conftest import Run


def test_overrides_are_told_from_specs_wherever_they_stand() -> None:
    arguments = ["+vars.x=1", "a.yaml", "width_mult=0.75", "~stages.c5", "++act=silu", "b"]
    specs, overrides = split(arguments)
    assert specs == ("a.yaml", "b")
    assert overrides == ("+vars.x=1", "width_mult=0.75", "~stages.c5", "++act=silu")


def test_a_file_with_an_equals_sign_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "lr=1.yaml"
    path.write_text("x")
    assert split([str(path), "x=1.yaml"]) == ((str(path),), ("x=1.yaml",))


def test_overrides_mix_with_options(run: Run) -> None:
    mixed = run("report", "specs/mnv3_small.yaml", "width_mult=0.75", "--json", "dilated=true")
    ordered = run("report", "--json", "specs/mnv3_small.yaml", "width_mult=0.75", "dilated=true")
    assert mixed.code == 0
    assert mixed == ordered
    assert mixed.json["params"] != run("report", "mnv3_small", "--json").json["params"]


def test_deleting_and_adding(run: Run) -> None:
    assert run("report", "mnv3_small", "~tail", "+vars.x=1", "--json").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("report",), "Name a spec"),
        (("report", "width_mult=1"), "Name a spec"),
        (("report", "mnv3_small", "width_mult", "0.5"), "`width_mult` is one spec too many"),
        (("report", "mnv3_small", "mnv3_large"), "`mnv3_large` is one spec too many"),
        (("diff", "a", "b", "c"), "`c` is one spec too many"),
        (("report", "mnv3_small", "--lyers"), "--layers"),
        (("repot", "mnv3_small"), "repot"),
        (("show", "mnv3_small", "--after", "scale_widht"), "did you mean `scale_width`?"),
        (("explain", "unknwn-key"), "did you mean `unknown-key`?"),
        (("report", "mnv3_small", "width_mult=1,2", "--layers"), "not a sweep"),
        (("report", "mnv3_small", "width_mult=1,2", "--counter", "torch"), "not a sweep"),
        (("check", "mnv3_small", "--format", "xml"), "xml"),
        (("build", "mnv3_small", "--seed", "-1"), "--seed"),
    ],
)
def test_a_wrong_command_line_exits_with_2(run: Run, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.code == 2
    assert message in result.err
    assert result.out == ""


@pytest.mark.parametrize(
    ("arguments", "id", "code"),
    [
        (("report", "mnv3_smal"), "file-not-found", 2),
        (("report", "specs/"), "not-a-file", 2),
        (("report", "mnv3_small", "width_mult=[1"), "override-syntax", 2),
        (("build", "mnv3_small", "width_mult=1,2"), "override-syntax", 2),
        (("report", "mnv3_small", "widht_mult=1"), "unknown-key", 1),
        (("report", "mnv3_small", "width_mult=nan"), "invalid-value", 1),
        (("report", "mobilevit_s", "stages.c3.1.heads=7"), "shape", 1),
        (("show", "mnv3_small", "outputs=[c9]", "--after", "lower"), "unknown-reference", 1),
        (("diff", "mnv3_small", "--b", "width_mult=large"), "invalid-value", 1),
    ],
)
def test_diagnostics_go_to_stderr_with_their_rules_exit_code(
    run: Run, arguments: tuple[str, ...], id: str, code: int
) -> None:
    result = run(*arguments)
    assert f"error[{id}]: " in result.err
    assert result.code == code
    assert result.out == ""


def test_warnings_are_diagnostics_and_no_failure(run: Run) -> None:
    result = run("report", "mnv3_small", "depth_mult=2", "--json")
    assert result.code == 0
    assert result.json["name"] == "mobilenet_v3_small"
    assert result.err.startswith("warning[unused-setting]: `depth_mult`")
    assert result.err.count("warning[") == 1


def test_a_file_that_cannot_be_written_is_no_traceback(run: Run, tmp_path: Path) -> None:
    result = run("schema", "-o", str(tmp_path / "missing" / "schema.json"))
    assert result.code == 2
    assert "No such file or directory" in result.err
