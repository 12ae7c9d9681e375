from __future__ import annotations

import threading
import time

import pytest

from archc.prediction.stream import read_ahead


def test_results_keep_their_order() -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert list(read_ahead(slow_at_first, range(50), 8)) == [item * item for item in range(50)]


def test_only_so_many_wait() -> None:
    started = 0
    lock = threading.Lock()

    def count(item: int) -> int:
        nonlocal started
        with lock:
            started += 1
        return item

    for taken, _ in enumerate(read_ahead(count, range(1000), 10), 1):
        assert started <= taken + 10


def test_reading_stops_when_nobody_wants_more() -> None:
    read: list[int] = []
    before = threading.active_count()  # other tests' libraries keep threads of their own
    results = read_ahead(lambda item: read.append(item) or item, range(10_000), 4)
    next(results)
    results.close()
    assert len(read) <= 6
    assert threading.active_count() <= before


def test_an_error_comes_through() -> None:
    results = read_ahead(lambda item: 1 // item, [1, 0], 2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_nothing() -> None:
    assert list(read_ahead(str, [], 3)) == []
