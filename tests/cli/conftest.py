"""The real command line, in this process for speed or in one of its own where that matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from archc.cli import main

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in the repository's root; any exception but an exit is a failure."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def invoke(*arguments: str) -> Outcome:
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return invoke


@pytest.fixture
def process() -> Run:
    """Run a command in a process of its own."""

    def invoke(*arguments: str, **environment: str) -> Outcome:
        result = subprocess.run(
            [sys.executable, "-m", "archc", *arguments],
            cwd=ROOT,
            env={**_clean_environment(), **environment},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return Outcome(result.returncode, result.stdout, result.stderr)

    return invoke


def _clean_environment() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR")}


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A spec with three mistakes."""
    path = tmp_path / "broken.yaml"
    path.write_text(
        "defaults: [mnv3_small, _self_]\n"
        "widht_mult: 0.5\n"
        "stages:\n"
        "  c2:\n"
        "    - {block: inverted_residual, kernal: 3, expand: 16, out: 16}\n"
        "    - {block: inverted_residul, kernel: 3, expand: 16, out: 16}\n",
        encoding="utf-8",
    )
    return path


def read_terminal(master: int) -> bytes:
    """Everything that is written to a pseudo-terminal until its other end is closed; closes this one."""
    seen = b""
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(master)
    return seen
