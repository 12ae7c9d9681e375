"""Reading takes work in proportion to the text, whatever is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

import archc
from archc.blocks import REGISTRY
from archc.document.diagnostics import Source
from archc.document.document import Document
from archc.language.load import kind

ROWS = "stages: {c1: [{block: conv, out: 8}]}\n"


def lines(template: str, count: int) -> str:
    return "".join(template.replace("#", str(n)).replace("@", str(n - 1)) + "\n" for n in range(1, count + 1))


TEXTS: dict[str, Callable[[int], str]] = {
    "unknown keys": lambda n: ROWS + lines("key#: 1", n),
    "bad rows": lambda n: "stages:\n  c1:\n" + lines("    - {block: conv, out: x#, kernel: a}", n),
    "unknown blocks": lambda n: "stages:\n  c1:\n" + lines("    - {block: conv#}", n),
    "items of a wrong type": lambda n: ROWS + f"input: {{mean: [{', '.join(['x'] * n)}]}}\n",
    "duplicate keys": lambda n: ROWS + "vars:\n" + "  a: 1\n" * n,
    "references": lambda n: ROWS + "vars:\n" + lines('  a#: "${act}"', n),
    "texts around references": lambda n: ROWS + "vars:\n" + lines('  a#: "x${act}"', n),
    "references to nothing": lambda n: ROWS + "vars:\n" + lines('  a#: "${vars.b#}"', n),
    "a chain": lambda n: ROWS + "vars:\n  a0: 1\n" + lines('  a#: "${vars.a@}"', n),
    "a circle": lambda n: ROWS + f'vars:\n  a0: "${{vars.a{n}}}"\n' + lines('  a#: "${vars.a@}"', n),
    "one mistake, many users": lambda n: ROWS + 'vars:\n  a: "${nothing}"\n' + lines('  b#: "${vars.a}"', n),
    "relative references": lambda n: ROWS + "vars:\n  a: 1\n" + lines('  b#: "${.a}"', n),
    "merge keys": lambda n: ROWS + "vars:\n  a: &a {k: 1}\n  b: {<<: [" + ", ".join(["*a"] * n) + "]}\n",
    "texts over two lines": lambda n: ROWS + "vars:\n" + lines('  a#: "x\n    y"', n),
    "unknown columns": lambda n: ROWS + f"table: {{block: conv, columns: [{', '.join(f'k{i}' for i in range(n))}]}}\n",
}


def calls(text: str) -> int:
    """The calls of functions, C's included, that reading a text takes."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        Document.of_text(kind(REGISTRY), Source("a.yaml", text), "a", resolvers=True).read()
    except archc.SpecError:
        pass
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", TEXTS)
def test_twice_the_text_is_twice_the_work(name: str) -> None:
    few, some, many = (calls(TEXTS[name](n)) for n in (60, 160, 260))
    assert (many - some) < 1.3 * (some - few)


def test_a_text_is_split_into_lines_once() -> None:
    source = Source("a.yaml", "first\nsecond\n")
    assert source.line(2) == "second"
    assert source.line(2) is source.line(2)
    assert [source.line(number) for number in (0, 1, 3, 4)] == ["", "first", "", ""]
    assert source == Source("a.yaml", "first\nsecond\n")


def test_every_mistake_of_a_long_document_is_reported() -> None:
    with pytest.raises(archc.SpecError) as caught:
        Document.of_text(kind(REGISTRY), Source("a.yaml", TEXTS["unknown keys"](5000)), "a", resolvers=True).read()
    assert len(caught.value.diagnostics) == 5000
    assert caught.value.diagnostics[-1].message == "`key5000` is not a key of a spec"


def test_expansion_is_bounded_for_the_whole_document() -> None:
    long = ", ".join(["1"] * 900)
    text = ROWS + f"vars:\n  long: [{long}]\n" + lines('  a#: "${vars.long}"', 60)
    with pytest.raises(archc.SpecError) as caught:
        Document.of_text(kind(REGISTRY), Source("a.yaml", text), "a", resolvers=True).read()
    (problem,) = caught.value.diagnostics
    assert (problem.id, problem.message) == (
        "too-large",
        "the interpolations expand to more than 50,000 values together",
    )


def test_long_chains_that_omegaconf_would_follow_on_the_stack_are_refused() -> None:
    text = ROWS + "vars:\n  a0: 1\n" + lines('  a#: "x${.a@}"', 40)
    with pytest.raises(archc.SpecError) as caught:
        Document.of_text(kind(REGISTRY), Source("a.yaml", text), "a", resolvers=True).read()
    (problem,) = caught.value.diagnostics
    assert problem.message == "`x${.a20}` leads through more than 20 other interpolations"


def test_plain_chains_may_have_any_length() -> None:
    text = ROWS + "vars:\n  a0: 0.5\n" + lines('  a#: "${vars.a@}"', 3000) + 'dropout: "${vars.a3000}"\n'
    with pytest.warns(archc.SpecWarning, match="dropout"):
        spec = Document.of_text(kind(REGISTRY), Source("a.yaml", text), "a", resolvers=True).read()
    assert spec.dropout == 0.5
