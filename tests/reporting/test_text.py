"""Numbers and tables."""

from __future__ import annotations

import io

import pytest

from archc.reporting import numbers
from archc.reporting.console import console
from archc.reporting.tables import Column, Table, number


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (1404928, "1.34 MiB"), (2**50, "1024.00 TiB")],
)
def test_memory(number: int, text: str) -> None:
    assert numbers.memory(number) == text


def test_derived_numbers_without_a_base() -> None:
    assert numbers.share(0, 0) == numbers.ratio(3, 0) == numbers.relative_change(0, 5) == numbers.NOTHING
    assert numbers.relative_change(0, 0) == ""
    assert numbers.share(1, 3) == "33.3"
    assert numbers.ratio(1, 4) == "0.25×"
    assert numbers.change(-1200) == "-1,200"


def test_fields() -> None:
    assert numbers.field(7, 7) == "7"
    assert numbers.field(7, None) == "7×all"
    assert numbers.field(None, None) == "all"


def test_a_table_is_as_wide_as_its_cells() -> None:
    file = io.StringIO()
    table = Table((Column("name"), number("count"), Column("")), [("a" * 200, "1", ""), ("宽", "1,000", "x [b] :ok:")])
    table.total = ("total", "1,001", "")
    table.print(console(file))
    lines = file.getvalue().splitlines()
    assert lines[0].split() == ["name", "count"]
    assert lines[2] == "a" * 200 + "      1"
    assert lines[3] == "宽" + " " * 198 + "  1,000  x [b] :ok:", "no markup, no emoji, wide characters count as two"
    assert set(lines[1]) == set(lines[4]) == {"─"}
    assert lines[5] == "total" + " " * 195 + "  1,001"
