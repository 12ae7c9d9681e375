"""What a command imports is what it costs to start."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "timm", "fvcore", "keras", "numpy")
PROBE = """
import sys
from archc.cli import main
try:
    main(sys.argv[2:])
except SystemExit as end:
    assert not end.code, end.code
found = [name for name in sys.argv[1].split() if name in sys.modules]
assert not found, found
"""


def probe(absent: tuple[str, ...], *arguments: str) -> None:
    command = [sys.executable, "-c", PROBE, " ".join(absent), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("report", "--help"), ("build", "-h")])
def test_help_imports_nothing_but_click(arguments: tuple[str, ...]) -> None:
    probe((*HEAVY, "pydantic", "hydra", "omegaconf", "rich", "yaml", "antlr4"), *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", "mnv3_small", "width_mult=0.75"),
        ("report", "mnv3_small", "width_mult=0.5,1.0", "--json"),
        ("check", "mnv3_small"),
        ("show", "mnv3_small", "--after", "lower"),
        ("diff", "mnv3_small", "mnv3_large"),
        ("list",),
        ("schema",),
        ("explain", "shape"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_static_commands_import_no_framework(arguments: tuple[str, ...]) -> None:
    probe(HEAVY, *arguments)


def test_json_needs_no_terminal_library() -> None:
    probe((*HEAVY, "rich"), "report", "mnv3_small", "--json")
