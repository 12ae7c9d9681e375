"""What a benchmark found: a timing for every engine, precision, number of threads and batch, or why there is none."""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple


def machine() -> str:
    """The processor and the system that this runs on, in words."""
    name = platform.processor() or platform.machine()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    return f"{name}, {platform.system()}"


class Spread(NamedTuple):
    """Milliseconds of one run: the quartiles of all timed runs."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """The quartiles of at least one run."""
        if len(seconds) == 1:
            return cls(*[1e3 * seconds[0]] * 3)
        return cls(*[1e3 * value for value in statistics.quantiles(seconds, n=4, method="inclusive")])


Status = Literal["timed", "failed", "impossible"]


@dataclass(frozen=True)
class Timing:
    """One engine on one network. All milliseconds are those of a whole batch.

    `ratio` says how many times faster it is than eager torch in f32 with as many threads and the same batch: the median
    over the rounds, each of which timed both. `difference` is the largest one from eager torch's outputs, relative to
    an output's largest number. `size` is in bytes, that of the exported file.

    Where `status` is `failed`, something went wrong that should work, and `reason` says what. `impossible` is what this
    engine does not do.
    """

    network: str
    engine: str
    version: str
    precision: str
    threads: int
    batch: int
    status: Status = "timed"
    reason: str = ""
    spread: Spread | None = None
    runs: int = 0
    ratio: float | None = None
    difference: float | None = None
    size: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, and flat, as a row of a table."""
        spread = self.spread
        times = {name: None if spread is None else getattr(spread, field) for name, field in _TIMES.items()}
        names = {"network": self.network, "runtime": self.engine}
        plain = {name: value for name, value in asdict(self).items() if name not in ("network", "engine", "spread")}
        return {**names, **plain, **times}


_TIMES = {"low_quartile_ms": "low", "median_ms": "median", "high_quartile_ms": "high"}


@dataclass(frozen=True)
class Benchmark:
    """All timings of one run. `missing` maps engines that are not installed to what installs them."""

    timings: tuple[Timing, ...]
    missing: dict[str, str] = field(default_factory=dict)
    rounds: int = 0
    notes: tuple[str, ...] = ()
    machine: str = field(default_factory=machine)

    @property
    def failed(self) -> bool:
        """Whether something went wrong that should work."""
        return any(timing.status == "failed" for timing in self.timings)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "machine": self.machine,
            "rounds": self.rounds,
            "timings": [timing.to_dict() for timing in self.timings],
            "missing": self.missing,
            "notes": list(self.notes),
        }
