from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from archc.document.diagnostics import Diagnostic, Source, Span
from archc.reporting.diagnostics import WIDEST, as_json, concise, full, github


def at(line: str, marked: str, *, before: int = 0, name: str = "specs/my.yaml") -> Span:
    text = "\n" * before + line
    return Span(Source(name, text), before + 1, line.index(marked) + 1, len(marked))


def test_the_form_that_the_design_shows() -> None:
    span = at("    - {kernal: 5, out: 40}", "kernal", before=30)
    message = "`kernal` is not a key of `inverted_residual`"
    assert full(Diagnostic("unknown-key", message, span, "did you mean `kernel`?")).plain == (
        "error[unknown-key]: `kernal` is not a key of `inverted_residual`\n"
        "  --> specs/my.yaml:31:8\n"
        "   |\n"
        "31 |     - {kernal: 5, out: 40}\n"
        "   |        ^^^^^^ did you mean `kernel`?"
    )


def test_notes_and_help_follow() -> None:
    diagnostic = Diagnostic("shape", "no", at("a: 1", "1"), "", ("its input is\n3×4", "so"), "try b", "warning")
    assert full(diagnostic).plain.splitlines()[0] == "warning[shape]: no"
    assert full(diagnostic).plain.splitlines()[5:] == [
        "  = note: its input is",
        "          3×4",
        "  = note: so",
        "  = help: try b",
    ]


def test_an_override_is_its_own_source_line() -> None:
    source = Source("override `a.b=x`", "a.b=x", "override")
    assert full(Diagnostic("invalid-value", "no", Span(source, 1, 5), "a number")).plain == (
        "error[invalid-value]: no\n --> override\n  |\n  | a.b=x\n  |     ^ a number"
    )


def test_without_a_place_the_label_becomes_help() -> None:
    assert full(Diagnostic("x", "no", None, "did you mean `y`?", (), "z")).plain == (
        "error[x]: no\n = help: did you mean `y`?\n = help: z"
    )
    nowhere = Span(Source("the mapping", "", "python"), 1, 1)
    assert full(Diagnostic("x", "no", nowhere, "one of: `a`")).plain == (
        "error[x]: no\n --> the mapping\n  = help: one of: `a`"
    )


@pytest.mark.parametrize(
    ("line", "marked", "indent", "carets"),
    [
        ("\ta: x", "x", 7, 1),
        ("宽度: x", "x", 6, 1),
        ("a: 宽度", "宽度", 3, 4),
        ("é: x", "x", 3, 1),
        ("e\N{COMBINING ACUTE ACCENT}: x", "x", 3, 1),
        ("\x1b[31m: x", "x", 7, 1),
        ("a\tb: 1", "a\tb", 0, 6),
    ],
)
def test_the_caret_stands_right(line: str, marked: str, indent: int, carets: int) -> None:
    shown, pointer = full(Diagnostic("x", "no", at(line, marked))).plain.splitlines()[-2:]
    assert "\x1b" not in shown
    assert "\t" not in shown
    assert pointer.removeprefix("  | ") == " " * indent + "^" * carets


def test_a_caret_past_the_end_of_the_line() -> None:
    span = Span(Source("f", "a:"), 1, 3)
    assert full(Diagnostic("x", "no", span)).plain.endswith("1 | a:\n  |   ^")


@pytest.mark.parametrize("start", [0, 10, 100, 500, 983])
@pytest.mark.parametrize("length", [1, 12, 17])
def test_a_long_line_is_cut_around_the_caret(start: int, length: int) -> None:
    line = "".join(f"{n:04d}" for n in range(250))
    span = Span(Source("f", line), 1, start + 1, length)
    shown, pointer = (text[4:] for text in full(Diagnostic("x", "no", span)).plain.splitlines()[-2:])
    assert len(shown) <= WIDEST
    first = pointer.index("^")
    assert shown[first : first + pointer.count("^")] == line[start : start + length]
    assert shown.startswith("…") == (start > WIDEST // 2)
    assert shown.endswith("…") == (start < 900)


def test_what_is_marked_may_be_long_itself() -> None:
    line = "key: " + "x" * 1000
    shown, pointer = full(Diagnostic("x", "no", Span(Source("f", line), 1, 6, 1000))).plain.splitlines()[-2:]
    assert len(shown) <= WIDEST + 4
    assert shown.startswith("1 | key: xxx")
    assert pointer.startswith("  |      ^^^")
    wide = Span(Source("f", "宽" * 500), 1, 200, 1)
    shown, pointer = full(Diagnostic("x", "no", wide)).plain.splitlines()[-2:]
    assert pointer.count("^") == 2


def test_concise_is_one_line() -> None:
    diagnostic = Diagnostic("x", "no\nway", at("a: 1", "1"), "b", ("c",), "d")
    assert concise(diagnostic).plain == "specs/my.yaml:1:4: error[x]: no␊way (b; d)"
    assert concise(Diagnostic("x", "no")).plain == "error[x]: no"


def test_github_escapes_what_its_syntax_uses() -> None:
    span = at("a: 1", "1", name="a,b:c%.yaml")
    diagnostic = Diagnostic("shape", "50% of a:b,\r\nc", span, "label", (), "help", "warning")
    assert github(diagnostic).plain == (
        "::warning file=a%2Cb%3Ac%25.yaml,line=1,col=4,endColumn=5,title=archc shape"
        "::50%25 of a:b,%0D%0Ac%0Alabel%0Ahelp"
    )


def test_github_has_no_file_for_an_override() -> None:
    span = Span(Source("override `a=1`", "a=1", "override"), 1, 3)
    assert github(Diagnostic("x", "no", span)).plain == "::error title=archc x::override `a=1`: no"


def test_json_is_a_list_of_what_the_diagnostic_says() -> None:
    diagnostic = Diagnostic("x", "no", at("a: 1", "1"), "b", ("c",), "d")
    assert json.loads(as_json([diagnostic])) == [diagnostic.to_dict()]
    assert json.loads(as_json([])) == []


_LINES = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("\t宽\x1b\u200b\u202eé")), max_size=400
)


@given(text=_LINES, line=st.integers(1, 4), column=st.integers(1, 500), length=st.integers(1, 500))
def test_any_text_with_any_span_is_rendered(text: str, line: int, column: int, length: int) -> None:
    diagnostic = Diagnostic("x", text, Span(Source(text, text), line, column, length), text, (text,), text)
    lines = full(diagnostic).plain.split("\n")
    assert all(character.isprintable() for line in lines for character in line)
    assert concise(diagnostic).plain.isprintable()
    assert "\n" not in github(diagnostic).plain
    excerpt = [line for line in lines if " | " in line][:1]
    assert all(cell_len(line) <= WIDEST + 8 for line in excerpt if not text.count("|"))
