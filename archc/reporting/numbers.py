"""Numbers as text: exact counts with separators, and figures derived from them."""

from __future__ import annotations

NOTHING = "–"
"""The text for a number that does not exist."""

_MEMORY = ("B", "KiB", "MiB", "GiB", "TiB")


def count(number: int) -> str:
    """`2,542,856`: exact, always."""
    return f"{number:,}"


def change(number: int) -> str:
    """`+1,024`, `-1,024` or `0`."""
    return f"{number:+,}" if number else "0"


def share(part: int, whole: int) -> str:
    """A percentage without its sign: `9.6`."""
    return f"{100 * part / whole:.1f}" if whole else NOTHING


def relative_change(before: int, after: int) -> str:
    """`-21.5%`."""
    if before == after:
        return ""
    return f"{100 * (after - before) / before:+.1f}%" if before else NOTHING


def ratio(number: float, base: float) -> str:
    """`0.42×`."""
    return f"{number / base:.3g}×" if base else NOTHING


def memory(number: int) -> str:
    """`1.34 MiB`."""
    size, unit = float(number), 0
    while size >= 1024 and unit < len(_MEMORY) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.2f} {_MEMORY[unit]}" if unit else f"{number} B"


def milliseconds(number: float) -> str:
    """`12.3`, `0.0123`: three digits that count."""
    return f"{number:#.3g}".rstrip(".") if number < 1000 else f"{number:,.0f}"


def field(height: int | None, width: int | None) -> str:
    """A receptive field: `319`, `31×15` where it is not square, `all` for the whole input."""
    sides = ["all" if side is None else str(side) for side in (height, width)]
    return sides[0] if sides[0] == sides[1] else "×".join(sides)
