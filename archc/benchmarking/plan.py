"""What a benchmark is asked to time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archc.benchmarking.engines import ENGINES, PRECISIONS, absent, known
from archc.benchmarking.pinning import cores
from archc.document.diagnostics import did_you_mean, one_of
from archc.extras import MissingExtraError

ALL = "all"


@dataclass(frozen=True)
class Plan:
    """What is to be timed: every engine in every precision, for all numbers of threads and all batches."""

    engines: Sequence[str]
    threads: Sequence[int] = (1,)
    batches: Sequence[int] = (1,)
    precisions: Sequence[str] = ("f32",)
    rounds: int = 10
    calibrate: tuple[str, ...] = ()

    def check(self) -> None:
        """Check that all of it exists.

        Raises:
            ValueError: an engine or a precision that there is not, or a number that is not positive or too large.
        """
        for engine in self.engines:
            known(engine)
        for name in self.precisions:
            if name not in PRECISIONS:
                hint = did_you_mean(name, PRECISIONS) or one_of(PRECISIONS)
                raise ValueError(f"there is no precision {name!r}: {hint}")
        for what, numbers in {"threads": self.threads, "batch": self.batches, "rounds": (self.rounds,)}.items():
            if not numbers or min(numbers) < 1:
                raise ValueError(f"`{what}` must be 1 or more")
        cores(max(self.threads))


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """The engines that are meant, each once: those that were named, or with `all` every one.

    Raises:
        ValueError: there is none of such a name.
        MissingExtraError: one that was named is not installed.
    """
    named = [known(name) for name in names if name != ALL]
    for message in absent(named).values():
        raise MissingExtraError(message)
    return tuple(dict.fromkeys([*named, *(ENGINES if ALL in names else ())]))
