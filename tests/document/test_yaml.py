"""The YAML reader: what it accepts, what it refuses, and where everything stands."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest
import yaml

import archc
from archc.document.diagnostics import Diagnostic, Source
from archc.document.library import bundled_directory
from archc.document.tree import Map, Scalar, Seq, Tree, find, locate, plain
from archc.document.yaml import read_file, read_text
from tests.language.helpers import BUNDLED, HANG_S, Folder, pointed


def read(text: str) -> Map:
    return read_text(Source("a.yaml", text))


def refused(text: str) -> Diagnostic:
    with pytest.raises(archc.SpecError) as caught:
        read(text)
    (problem,) = caught.value.diagnostics
    return problem


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-3", -3), ("+4", 4), ("0x1F", 31), ("0o17", 15), ("010", 10),
        ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1e-3", 0.001), ("1.0e+3", 1000.0), ("-.5E2", -50.0),
        (".inf", math.inf), ("-.inf", -math.inf),
        ("true", True), ("False", False), ("TRUE", True), ("null", None), ("~", None), ("", None),
        ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"), ("12:30:45", "12:30:45"),
        ("2026-11-21", "2026-11-21"),
        ("4x", "4x"), ("2.5x", "2.5x"), ("1_000", "1_000"), ("0b11", "0b11"), ("inf", "inf"), ("nan", "nan"),
        ("-", "-"),
        ("'1'", "1"), ('"true"', "true"), ("''", ""), ('"\\u00e9"', "é"), ("relu", "relu"), ("a b", "a b"),
    ],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    if text == "-":
        text = "'-'"
    node = read(f"key: {text}\n").items["key"]
    assert isinstance(node, Scalar)
    assert node.value == value
    assert type(node.value) is type(value)


def test_nan_is_read() -> None:
    value = plain(read("key: .nan"))["key"]  # type: ignore[index]
    assert isinstance(value, float)
    assert math.isnan(value)


def test_block_scalars() -> None:
    assert plain(read("a: |\n  x\n  1\nb: >\n  12\n")) == {"a": "x\n1\n", "b": "12\n"}


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_specs_read_as_pyyaml_reads_them(name: str) -> None:
    text = (bundled_directory() / f"{name}.yaml").read_text(encoding="utf-8")
    assert plain(read(text)) == yaml.safe_load(text)


EVERYTHING = """\
name: net
block:
  key: value
  list:
    - first
    - {x: 1, y: [2, "three"]}
    - - nested
flow: {a: [10, 20], b: {c: d}}
empty:
text: |
  line
"""


@pytest.mark.parametrize(
    ("path", "line", "column", "text"),
    [
        (("name",), 1, 7, "net"),
        (("block", "key"), 3, 8, "value"),
        (("block", "list", 0), 5, 7, "first"),
        (("block", "list", 1), 6, 7, '{x: 1, y: [2, "three"]}'),
        (("block", "list", 1, "x"), 6, 11, "1"),
        (("block", "list", 1, "y"), 6, 17, '[2, "three"]'),
        (("block", "list", 1, "y", 1), 6, 21, '"three"'),
        (("block", "list", 2, 0), 7, 9, "nested"),
        (("flow",), 8, 7, "{a: [10, 20], b: {c: d}}"),
        (("flow", "a", 1), 8, 16, "20"),
        (("flow", "b", "c"), 8, 28, "d"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_positions_of_values(path: tuple[str | int, ...], line: int, column: int, text: str, newline: str) -> None:
    span = locate(read(EVERYTHING.replace("\n", newline)), path)
    assert (span.line, span.column) == (line, column)
    assert pointed(span) == text


@pytest.mark.parametrize(
    ("path", "line", "text"),
    [
        (("block",), 2, "block"),
        (("block", "list", 1, "y"), 6, "y"),
        (("flow", "b", "c"), 8, "c"),
        (("empty",), 9, "empty"),
    ],
)
def test_positions_of_keys(path: tuple[str | int, ...], line: int, text: str) -> None:
    span = locate(read(EVERYTHING), path, key=True)
    assert span.line == line
    assert pointed(span) == text


def test_every_position_is_inside_its_text() -> None:
    for name in BUNDLED:
        tree = read_file(bundled_directory() / f"{name}.yaml")
        stack: list[Tree] = [tree]
        while stack:
            node = stack.pop()
            assert pointed(node.span)
            if isinstance(node, Map):
                assert all(pointed(span) in (key, f'"{key}"') for key, span in node.keys.items())
            stack += node.items.values() if isinstance(node, Map) else node.items if isinstance(node, Seq) else ()
            if isinstance(node, Scalar) and isinstance(node.value, str) and not node.value.startswith("$"):
                assert node.value in pointed(node.span)


def test_columns_count_characters_not_bytes() -> None:
    problem = refused("# ü\n'größe→🙂': {a: 1, a: 2}\n")
    assert pointed(problem.span) == "a"
    assert problem.span is not None
    assert (problem.span.line, problem.span.column) == (2, 20 - 1)


@pytest.mark.parametrize("separator", ["\x85", "\u2028", "\n", "\r\n", "\r"])
def test_lines_break_where_yaml_breaks_them(separator: str) -> None:
    problem = refused(f"a: 1{separator}# x{separator}b: 1{separator}b: 2{separator}")
    assert problem.span is not None
    assert problem.span.line == 4
    assert pointed(problem.span) == "b"


def test_byte_order_mark_is_no_part_of_the_first_key(folder: Folder) -> None:
    path = folder.path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: x\n")
    assert plain(read_file(path)) == {"name": "x"}


def test_merge_keys() -> None:
    tree = read("a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: *a, x: 0}\nd:\n  <<: [*a, *b]\n  w: 5\n")
    assert plain(tree)["c"] == {"x": 0, "y": 2}  # type: ignore[index]
    assert plain(tree)["d"] == {"x": 1, "y": 2, "z": 4, "w": 5}  # type: ignore[index]


def test_anchors_on_keys_and_values() -> None:
    assert plain(read("a: &x [1, 2]\nb: *x\n&k key: 1\nc: *k\n")) == {"a": [1, 2], "b": [1, 2], "key": 1, "c": "key"}


@pytest.mark.parametrize(
    ("text", "id", "at"),
    [
        ("a: 1\nb: 2\na: 3\n", "duplicate-key", "a"),
        ("a: {b: 1, b: 1}\n", "duplicate-key", "b"),
        ("a: !!python/object/apply:os.system ['x']\n", "yaml-tag", None),
        ("a: !!str 1\n", "yaml-tag", None),
        ("a: !custom {b: 1}\n", "yaml-tag", None),
        ("!!python/name:os.system a: 1\n", "yaml-tag", None),
        ("a: 1\n---\nb: 2\n", "yaml-documents", "---"[0]),
        ("", "empty-spec", ""),
        ("# only a comment\n", "empty-spec", "#"),
        ("---\n...\n", "empty-spec", "-"),
        ("null\n", "empty-spec", "n"),
        ("- a\n- b\n", "not-a-mapping", "-"),
        ("just words\n", "not-a-mapping", "just words"),
        ("[a, b]\n", "not-a-mapping", "[a, b]"),
        ("42\n", "not-a-mapping", "42"),
        ("? [a, b]\n: 1\n", "yaml-key", "["),
        ("{a: 1}: 2\n", "yaml-key", "{"),
        ("a: *nothing\n", "yaml-syntax", "*nothing"),
        ("a: &a [*a]\n", "yaml-syntax", "*a"),
        ("a: {b: 1\n", "yaml-syntax", None),
        ("a: [1, 2\nb: 3\n", "yaml-syntax", None),
        ("\ta: 1\n", "yaml-syntax", "\t"),
        ("a: 'open\n", "yaml-syntax", None),
        ("a b\nc: d\n", "yaml-syntax", None),
        ("a: b: c\n", "yaml-syntax", ":"),
        ("a: @x\n", "yaml-syntax", "@"),
        ("a: 1\n b: 2\n", "yaml-syntax", None),
        ('a: "\\ud800"\n', "yaml-syntax", None),
        ("a: " + "9" * 50 + "\n", "invalid-value", "9" * 50),
        ("a: " + "[" * 60 + "]" * 60 + "\n", "too-deep", "["),
        ("a: " + "{b: " * 60 + "}" * 60 + "\n", "too-deep", "{"),
        ("a: [" + "1, " * 60_000 + "]\n", "too-large", "1"),
    ],
)  # fmt: skip
def test_refusals(text: str, id: str, at: str | None) -> None:
    problem = refused(text)
    assert problem.id == id
    assert problem.span is not None
    assert problem.message
    if at is not None:
        assert pointed(problem.span).startswith(at)


@pytest.mark.parametrize("depth", [5_000, 200_000])
@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_ends_soon(opening: str, depth: int) -> None:
    start = time.monotonic()
    assert refused("a: [" + opening * depth if opening != "- " else opening * depth).id in ("too-deep", "yaml-syntax")
    assert time.monotonic() - start < HANG_S


def test_alias_bomb() -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    start = time.monotonic()
    assert refused("\n".join(lines)).id == "too-large"
    assert time.monotonic() - start < HANG_S


def test_merge_bomb() -> None:
    lines = ["a0: &a0 {" + ", ".join(f"k{n}: 1" for n in range(100)) + "}"]
    lines += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}, *a{n - 1}]}}" for n in range(1, 20)]
    assert refused("\n".join(lines)).id == "too-large"


def test_every_problem_is_listed() -> None:
    with pytest.raises(archc.SpecError) as caught:
        read("a: 1\na: 2\nb: !!str x\n? [c]\n: d\n")
    assert [problem.id for problem in caught.value.diagnostics] == ["duplicate-key", "yaml-tag", "yaml-key"]


@pytest.mark.parametrize(
    ("data", "id"),
    [
        ("name: café".encode("latin-1"), "not-utf8"),
        ("name: x".encode("utf-16"), "not-utf8"),
        ("name: x".encode("utf-16-le"), "yaml-syntax"),
        ("name: x".encode("utf-32"), "not-utf8"),
        (b"name: a\x00b\n", "yaml-syntax"),
        (b"name: \x07\n", "yaml-syntax"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not-utf8"),
        (b"", "empty-spec"),
        (b"\xef\xbb\xbf", "empty-spec"),
        (b" " * 1_000_001, "too-large"),
    ],
)
def test_files_that_are_no_specs(folder: Folder, data: bytes, id: str) -> None:
    path = folder.path / "a.yaml"
    path.write_bytes(data)
    with pytest.raises(archc.SpecError) as caught:
        archc.load(path)
    (problem,) = caught.value.diagnostics
    assert problem.id == id
    assert "a.yaml" in problem.message or (problem.span and "a.yaml" in problem.span.source.name)


def test_a_nul_is_pointed_at() -> None:
    problem = refused("name: x\nkey: a\x00b\n")
    assert problem.span is not None
    assert (problem.span.line, problem.span.column) == (2, 7)
    assert "U+0000" in problem.message


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(archc.SpecError) as caught:
        archc.load(tmp_path)
    assert caught.value.diagnostics[0].id == "not-a-file"


@pytest.mark.parametrize(
    "name", ["nothing.yaml", "no/such/place.yaml", "nothing", "x" * 5000, "a\0b", "x" * 5000 + ".yaml"]
)
def test_a_missing_file(name: str) -> None:
    with pytest.raises(archc.SpecError) as caught:
        archc.load(name)
    assert caught.value.diagnostics[0].id in ("file-not-found", "unreadable-file")


def test_a_misspelt_file_gets_a_suggestion(folder: Folder) -> None:
    folder.write("my_network.yaml", "name: x")
    with pytest.raises(archc.SpecError, match=r"my_network\.yaml`"):
        archc.load(folder.path / "my_netwrok.yaml")
    with pytest.raises(archc.SpecError, match="did you mean `mobilevit_xs`"):
        archc.load("mobilvit_xs")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(folder: Folder) -> None:
    path = folder.write("a.yaml", "name: x")
    path.chmod(0)
    with pytest.raises(archc.SpecError) as caught:
        archc.load(path)
    assert caught.value.diagnostics[0].id == "unreadable-file"


def test_a_link_to_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.symlink_to(path)
    with pytest.raises(archc.SpecError) as caught:
        archc.load(path)
    assert caught.value.diagnostics[0].id == "unreadable-file"


def test_both_parsers_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyYAML comes without libyaml, its Python parser must give the same trees and positions."""
    texts = [(bundled_directory() / f"{name}.yaml").read_text(encoding="utf-8") for name in BUNDLED] + [EVERYTHING]
    fast = [read(text) for text in texts]
    monkeypatch.setattr("archc.document.yaml._Loader", yaml.SafeLoader)
    assert [read(text) for text in texts] == fast
    assert find(fast[-1], ("flow", "a", 1)) == find(read(EVERYTHING), ("flow", "a", 1))
