"""Read many images in order, ahead of their use, in threads, with few in memory at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

MOST_THREADS = 4
"""Each thread holds one decoded image, which may take hundreds of megabytes."""


def read_ahead(read: Callable[[_Item], _Result], items: Iterable[_Item], ahead: int) -> Iterator[_Result]:
    """Yield `read(item)` for every item in order, at most `ahead` results waiting.

    Threads are enough: decoders release the interpreter's lock.
    """
    rest = iter(items)
    pool = ThreadPoolExecutor(min(MOST_THREADS, ahead, os.cpu_count() or 1))
    waiting: deque[Future[_Result]] = deque()
    try:
        waiting.extend(pool.submit(read, item) for item in islice(rest, ahead))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(read, item) for item in islice(rest, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
