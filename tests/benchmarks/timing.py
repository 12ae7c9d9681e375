"""Timing in pairs: two calls alternately in one run, so that a busy moment of the machine falls on both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def pair(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float]:
    """The medians of both, in milliseconds."""
    times: tuple[list[float], list[float]] = ([], [])
    ours(), theirs()
    for number in range(rounds):
        order = [(ours, times[0]), (theirs, times[1])]
        for call, record in order if number % 2 else reversed(order):
            start = time.perf_counter()
            call()
            record.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[0]), statistics.median(times[1])


def row(what: str, against: str, ours: float, theirs: float) -> None:
    """Print one line of the table."""
    ratio = theirs / ours
    gain = f"{ratio:,.0f}× faster" if ratio >= 3 else f"{ours / theirs:.2f}× its time"
    print(f"| {what} | {ours:,.3g} ms | {against} | {theirs:,.4g} ms | {gain} |", flush=True)
