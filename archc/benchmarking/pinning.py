"""Which processors a process uses. Systems that cannot pin a process leave it as it is."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""The variables by which libraries learn how many threads to start."""

_DEATH_SIGNAL = 1
"""Linux's PR_SET_PDEATHSIG."""


def cores(threads: int) -> tuple[int, ...]:
    """The processors for so many threads; empty where a process cannot be pinned.

    Raises:
        ValueError: this process may use fewer processors.
    """
    usable = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))
    if threads > len(usable):
        has = f"{len(usable)} processor{'s' * (len(usable) > 1)}"
        raise ValueError(f"{threads} threads would share {has}: ask for at most {len(usable)}")
    return tuple(usable[:threads]) if sys.platform == "linux" else ()


def pin(cores: Sequence[int]) -> None:
    """Keep this process, and all threads that it starts from now on, on these processors."""
    if cores and sys.platform == "linux":
        os.sched_setaffinity(0, cores)


def end_with_parent() -> None:
    """Let this process end with the one that started it, however that happens: a stopped one reads no end of input."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DEATH_SIGNAL, int(signal.SIGKILL))
