from __future__ import annotations

from pathlib import Path

import pytest

from archc.language.load import LIBRARY
from tests.cli.conftest import ROOT, Run


def test_every_bundled_spec_is_fine(run: Run) -> None:
    specs = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "specs").glob("*.yaml"))
    warned = [spec for spec in specs if "fasterrcnn_mnv3" in spec]  # as torchvision builds them: see the specs
    result = run("check", *(spec for spec in specs if spec not in warned))
    assert (result.code, result.err) == (0, "")
    assert result.out == f"checked {len(LIBRARY.names()) - 2} specs: no problems\n"
    result = run("check", *warned)
    assert (result.code, result.out) == (0, "checked 2 specs: 2 warnings\n")
    assert result.err.count("warning[same-stride]") == 2


def test_every_problem_of_every_spec(run: Run, broken: Path) -> None:
    result = run("check", str(broken), "mnv3_small", "mnv3_smal")
    assert result.code == 2, "the gravest: a spec that does not exist"
    assert [line for line in result.err.splitlines() if line.startswith("error")] == [
        "error[unknown-key]: `widht_mult` is not a key of a spec",
        "error[unknown-key]: `kernal` is not a key of `inverted_residual`",
        "error[unknown-block]: there is no block `inverted_residul`",
        "error[file-not-found]: there is no spec `mnv3_smal`: no such file, and no bundled spec of that name",
    ]
    assert result.out == "checked 3 specs: 4 errors\n"
    assert run("check", str(broken)).code == 1


def test_what_only_lowering_finds(run: Run) -> None:
    result = run("check", "mobilevit_s", "stages.c3.1.heads=7")
    assert result.code == 1
    assert "error[shape]" in result.err


def test_a_mistake_that_several_specs_share_is_shown_once(run: Run) -> None:
    result = run("check", "mnv3_small", "mnv3_large", "act=swosh")
    assert result.err.count("error[") == 1


def test_swept_overrides_check_every_combination(run: Run) -> None:
    result = run("check", "mnv3_small", "act=relu,swosh,silu,reluu")
    assert result.code == 1
    assert result.err.count("error[invalid-value]") == 2


def test_concise(run: Run, broken: Path) -> None:
    result = run("check", str(broken), "--format", "concise")
    assert result.out.splitlines() == [
        f"{broken}:2:1: error[unknown-key]: `widht_mult` is not a key of a spec (did you mean `width_mult`?)",
        f"{broken}:5:34: error[unknown-key]: `kernal` is not a key of `inverted_residual` (did you mean `kernel`?)",
        f"{broken}:6:15: error[unknown-block]: there is no block `inverted_residul` "
        "(did you mean `inverted_residual`?)",
    ]
    assert result.err == "checked 1 spec: 3 errors\n"


def test_json(run: Run, broken: Path) -> None:
    found = run("check", str(broken), "--format", "json").json
    assert [(d["source"], d["line"], d["column"], d["id"]) for d in found] == [
        (str(broken), 2, 1, "unknown-key"),
        (str(broken), 5, 34, "unknown-key"),
        (str(broken), 6, 15, "unknown-block"),
    ]
    assert run("check", "mnv3_small", "--format", "json").json == []


def test_github(run: Run, broken: Path) -> None:
    first = run("check", str(broken), "--format", "github").out.splitlines()[0]
    assert first == (
        f"::error file={broken},line=2,col=1,endColumn=11,title=archc unknown-key"
        "::`widht_mult` is not a key of a spec%0Adid you mean `width_mult`?"
    )


@pytest.mark.parametrize(("style", "stream"), [("full", "err"), ("concise", "out"), ("github", "out")])
def test_warnings_do_not_fail(run: Run, style: str, stream: str) -> None:
    result = run("check", "mnv3_small", "depth_mult=2", "--format", style)
    assert result.code == 0
    assert "warning" in getattr(result, stream)
