"""Fixtures of the tests of documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.language.helpers import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty directory for spec files."""
    return Folder(tmp_path)
