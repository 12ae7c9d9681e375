"""What all tests share: the `--accept` switch and golden files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# Before anything imports torch, here or in a test's own processes: two threads that wait for each other make a forward
# ten times slower on a busy machine, and no test's networks are large enough to need them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests that want Keras on JAX start a process of their own.
os.environ["KERAS_BACKEND"] = "torch"

import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="write the golden files in tests/golden anew")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with a file of tests/golden; with `--accept`, write it there."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--accept"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"if {name} should change: pytest --accept"

    return compare
