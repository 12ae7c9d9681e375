"""Users' own words reach a terminal as text: nothing in them moves the cursor, colours it or breaks a line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archc.document.diagnostics import Diagnostic
from archc.reporting.console import console, line
from archc.reporting.sweep import Variant, print_sweep
from archc.reporting.tables import Column, Table, facts
from tests.cli.conftest import Run

EVIL = "\x1b[31mred\x1b]0;title\x07\r\x9b2J\x7f"
_TEXT = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("\t\x1b\x9b\x07\x7f\u202e\r")))


def controls(text: str) -> list[str]:
    return [character for character in text if not character.isprintable() and character != "\n"]


@given(text=_TEXT)
def test_whatever_is_printed_is_visible(text: str) -> None:
    file = io.StringIO()
    out = console(file)
    out.print(text)
    out.print(line(text, (text, "bold")))
    Table((Column(text), Column(text, style="bold")), [(text, line(text))], (text, text)).print(out)
    facts(out, [(text, text)])
    print_sweep(out, [Variant({text: text}, {text: text}, None, (Diagnostic(text, text),))])
    assert controls(file.getvalue()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", EVIL),
        ("report", "mnv3_small", f"name={EVIL}"),
        ("report", "mnv3_small", f"vars.{EVIL}=1"),
        ("report", "mnv3_small", f"+vars.x='{EVIL}'"),
        ("report", "mnv3_small", f"act=relu,'{EVIL}'"),
        ("report", "mnv3_small", EVIL),
        ("report", "mnv3_small", f"--{EVIL}"),
        (EVIL,),
        ("explain", EVIL),
        ("show", "mnv3_small", "--after", EVIL),
        ("diff", "mnv3_small", "--b", f"+vars.x='{EVIL}'"),
        ("diff", "mnv3_small", "--b", EVIL),
        ("check", EVIL, "--format", "full"),
        ("check", EVIL, "--format", "concise"),
        ("weights", "mnv3_small", f"{EVIL}.pth"),
        ("weights", "mnv3_small", "a.pth", EVIL),
        ("schema", "-o", f"missing/{EVIL}"),
        ("convert", "mnv3_small", "--to", "keras", "-o", EVIL),
        ("predict", "mnv3_small", EVIL),
        ("build", "mnv3_small", f"act='{EVIL}'", "-o", EVIL),
    ],
    ids=lambda arguments: " ".join(arguments)[:30].encode("unicode_escape").decode(),
)
def test_commands(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert controls(result.out) == []
    assert controls(result.err) == []
    assert result.out or result.err


def test_a_specs_own_name(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text('defaults: [mnv3_small, _self_]\nname: "a\\e[31mred"\nvars: {x: "\\e[1m"}\n')
    for command in (["report", str(path)], ["show", str(path)], ["diff", str(path), "mnv3_small"]):
        result = run(*command)
        assert controls(result.out) == []
        assert controls(result.err) == []
