"""The table of diagnostics is complete, and has no row too many."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import archc
from archc.document.rules import RULES

SOURCE = Path(archc.__file__).parent
MAKERS = {"fail": 0, "Diagnostic": 0, "_report": 0, "_problem": 0, "reject": 2}
"""The functions that make diagnostics, and which of their arguments is the id."""


def strings() -> Iterator[tuple[str, bool]]:
    """Every string of the source outside the table itself, and whether a diagnostic is made with it as its id."""
    for path in SOURCE.rglob("*.py"):
        if path.name == "rules.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value, False
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if isinstance(node.func, ast.Attribute) and name == "fail":
                    continue  # click's, of a parameter's type
                given = [keyword.value for keyword in node.keywords if name in MAKERS and keyword.arg == "id"]
                given += node.args[MAKERS[name] : MAKERS[name] + 1] if name in MAKERS else []
                yield from ((str(argument.value), True) for argument in given if isinstance(argument, ast.Constant))


def test_every_id_has_its_row_and_every_row_its_use() -> None:
    found = list(strings())
    made = {text for text, is_id in found if is_id}
    assert len(made) > 25
    assert made <= set(RULES)
    assert set(RULES) <= {text for text, _ in found}


def test_rows_are_whole() -> None:
    for id, rule in RULES.items():
        assert rule.id == id
        assert id == id.lower()
        assert rule.summary
        assert not rule.summary.endswith(".")
        assert rule.explanation.endswith(".")
        assert rule.example
        assert rule.exit_code == {"warning": 0, "error": rule.exit_code}[rule.severity]
        assert rule.exit_code in (0, 1, 2)
    from_the_command_line = {"file-not-found", "not-a-file", "unreadable-file", "override-syntax", "override-conflict"}
    assert {RULES[id].exit_code for id in from_the_command_line} == {2}
    assert {RULES[id].exit_code for id in ("yaml-syntax", "unknown-key", "invalid-value", "shape")} == {1}
