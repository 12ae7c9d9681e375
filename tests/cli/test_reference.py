"""The commands that tell what there is: list, explain, schema, help."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

import archc
from archc.cli import list as list_module
from archc.document.rules import RULES
from archc.language.load import LIBRARY
from tests.cli.conftest import ROOT, Run


def test_list_has_every_spec_and_block(run: Run) -> None:
    found = run("list", "--json").json
    assert [spec["spec"] for spec in found["specs"]] == LIBRARY.names()
    assert [block["name"] for block in found["blocks"]] == archc.REGISTRY.names()
    assert all(block["doc"] for block in found["blocks"])
    text = run("list").out
    for spec in found["specs"]:
        report = archc.report(spec["spec"])
        assert (spec["params"], spec["macs"]) == (report.params, report.macs)
        assert f"{report.params:,}" in text


def test_docs_are_cut_after_their_first_clause(run: Run) -> None:
    cut = list_module._FIRST_CLAUSE
    assert cut.split("A block (Sandler et al. 2018, arXiv:1801.04381); so it is.")[0].endswith("04381)")
    assert cut.split("Dropout.")[0] == "Dropout"


def test_a_broken_bundled_spec_does_not_hide_the_others(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archc.document.library.Library.names", lambda self: ["mnv3_small", "gone"])
    result = run("list")
    assert result.code == 2
    assert "mobilenet_v3_small" in result.out
    assert "error[file-not-found]" in result.err


@pytest.mark.parametrize("id", RULES)
def test_explain_prints_the_rule(run: Run, id: str) -> None:
    text = run("explain", id).out
    rule = RULES[id]
    assert text.startswith(f"{rule.severity}[{id}]: {rule.summary}")
    assert " ".join(rule.explanation.split()) in " ".join(text.split())
    assert f"    {rule.example.splitlines()[0]}" in text


def test_explain_takes_the_brackets_too_and_lists_all_rules(run: Run) -> None:
    assert run("explain", "[shape]") == run("explain", "shape")
    lines = run("explain").out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(RULES)


def test_schema_is_written_and_accepts_a_spec(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    assert run("schema", "-o", str(path)).out == ""
    schema = json.loads(path.read_text())
    assert schema == run("schema").json
    again = run("schema", "-o", str(path))
    assert again.code == 2
    assert "`--force` overwrites" in again.err
    assert run("schema", "-o", str(path), "--force").out == ""
    # Every bundled spec is held against the schema in tests/language/test_json_schema.py.
    jsonschema.validate(yaml.safe_load((ROOT / "specs" / "mnv3_small.yaml").read_text()), schema)


def test_help_shows_every_command(run: Run) -> None:
    text = run("--help").out
    for name in ("report", "build", "check", "show", "diff", "list", "explain", "schema"):
        assert f"\n  {name} " in text
        assert run(name, "--help").code == 0
    assert "..." not in text.partition("Commands:")[2], "the short helps fit"


def test_version(run: Run) -> None:
    assert run("--version").out == f"archc {archc.__version__}\n"
