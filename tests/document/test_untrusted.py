"""Texts and names that a stranger may have written: they call nothing, and they do not reach a terminal raw."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import archc
from archc.blocks import REGISTRY
from archc.document import overrides
from archc.document.diagnostics import Diagnostic, Source, Span, visible
from archc.document.document import Document
from archc.language.load import kind, stated
from archc.reporting.diagnostics import LINES, as_json
from archc.weights.error import WeightsError

ROWS = "stages: {c1: [{block: conv, out: 8}]}\n"


@pytest.fixture
def ran() -> Iterator[list[str]]:
    """What the common resolver `eval` was asked to run."""
    asked: list[str] = []

    def evaluate(text: str) -> str:
        asked.append(text)
        return text

    OmegaConf.register_new_resolver("eval", evaluate)
    yield asked
    OmegaConf.clear_resolver("eval")


CALLS = [
    "${eval:'1'}", "x${eval:'1'}", "${ eval: 1}", "${oc.env:SECRET}", "${oc.decode:'1'}", "${oc.env:SECRET,x}",
    "${.b}${eval:1}", r"\\${eval:1}", "${vars[b]}-${oc.env:SECRET}",
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_a_spec_inside_weights_calls_no_resolver(call: str, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "do-not-tell")
    text = Source("weights.safetensors", f"name: n\nvars:\n  b: y\n  x: '{call.replace(chr(39), chr(39) * 2)}'\n{ROWS}")
    with pytest.raises(archc.SpecError) as caught:
        stated(text, "n", blocks=REGISTRY.closed())
    (problem,) = caught.value.diagnostics
    assert problem.id == "interpolation"
    assert "calls a resolver; a spec that comes with weights cannot" in problem.message
    assert problem.span is not None
    assert problem.span.line == 4
    assert "do-not-tell" not in str(caught.value)
    assert ran == []


@pytest.mark.parametrize("call", ["${eval:'1'}", "${oc.env:SECRET}"])
def test_a_spec_that_the_user_names_may(call: str, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    source = {"vars": {"x": call}, "stages": {"c1": [{"block": "conv", "out": 8}]}}
    assert str(archc.load(source).vars["x"]) == "1"
    assert len(ran) == ("eval" in call)


def test_references_and_the_users_own_overrides_still_work(ran: list[str]) -> None:
    text = Source("weights.safetensors", f"name: n\nvars: {{x: '${{width_mult}}', y: 'w${{.x}}'}}\n{ROWS}")
    spec = Document.of_text(kind(REGISTRY), text, "n", resolvers=False).read(overrides.parse(["+vars.z=${eval:'1'}"]))
    assert spec.vars == {"x": 1.0, "y": "w1.0", "z": "1"}
    assert ran == ["1"]
    assert spec.override(width_mult=0.5).vars["y"] == "w0.5"


def test_weights_that_call_a_resolver_are_refused(tmp_path: Path, ran: list[str]) -> None:
    """The whole way: a file of weights whose own spec would run code is read by `load_weights`."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from archc.ir.graph import SPEC
    from archc.transforms.provenance import stated_spec

    path = tmp_path / "evil.safetensors"
    metadata = {SPEC: f"name: n\nvars: {{x: \"${{eval:'1'}}\"}}\n{ROWS}"}
    save_file({"x": torch.zeros(1)}, path, metadata=metadata)
    with pytest.raises(archc.SpecError, match="calls a resolver"):
        stated_spec(metadata)
    assert ran == []


EVIL = "a\x1b[31mb\r\x07\x9bc\u202ed\x7f\x00"


def test_no_control_character_reaches_a_reader() -> None:
    span = Span(Source(f"{EVIL}.yaml", f"{EVIL}: 1\n"), 1, 1, 3)
    problem = Diagnostic("unknown-key", EVIL, span, EVIL, (EVIL, f"{EVIL}\n{EVIL}"), EVIL)
    shown = [render(problem).plain for render in LINES.values()]
    for text in (*shown, str(problem), str(archc.SpecError([problem])), str(WeightsError([problem]))):
        assert text.replace("\n", "").isprintable(), ascii(text)
        assert "b" in text
    assert as_json([problem]).isascii()
    assert problem.to_dict()["message"] == EVIL, "data stays as it is"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain é 宽", "plain é 宽"), ("\x1b[0m", "␛[0m"), ("a\nb", "a␊b"), ("\t", "␉"), ("\x9b\u200b", r"\x9b\u200b")],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_visible_keeps_what_a_renderer_lays_out() -> None:
    assert visible("a\n\tb", tab="    ", line_breaks=True) == "a\n    b"


def test_a_key_with_an_escape_sequence(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text(f'"\\e[31mred": 1\n{ROWS}', encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (problem,) = archc.check(path)
    assert "\x1b" in problem.message
    assert "\x1b" not in LINES["github"](problem).plain
    assert "␛[31mred" in LINES["github"](problem).plain
