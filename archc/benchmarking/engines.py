"""What computes a network: torch itself, eagerly or compiled, and every runtime of files."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec

from archc.backends import BACKENDS
from archc.benchmarking.job import Job, stored
from archc.document.diagnostics import did_you_mean, one_of
from archc.extras import MissingExtraError, require
from archc.runtimes import RUNTIMES, open_file
from archc.runtimes.protocol import Session

EAGER, COMPILED = "eager", "compiled"
BUILT = (EAGER, COMPILED)
"""Engines that build the network in torch."""

PRECISIONS = ("f32", "f16", "bf16", "int8")


def variant(engine: str, precision: str) -> str | None:
    """The runtime by which an engine computes files of f32 in this precision; None where there is none."""
    name = f"{engine}-{precision}"
    return name if name in RUNTIMES else None


ENGINES = (
    *BUILT,
    *(name for name in RUNTIMES if all(variant(engine, p) != name for engine in RUNTIMES for p in PRECISIONS)),
)
"""All engines by name; runtimes have their own names."""

LIMITS: Mapping[str, float] = {"f32": 1e-3, "f16": 5e-2, "bf16": 2e-1}
"""The largest difference from torch's f32 by precision that is still rounding; int8 is judged by `archc quantize`."""


OWN_THREADS = ("coreml",)
"""Runtimes that decide themselves how many threads compute."""

SYSTEMS = {"coreml": ("darwin", "Core ML runs on Apple's systems only")}
"""The one system that a runtime runs on, by `sys.platform`, and what to say on another."""


class ImpossibleError(ValueError):
    """An engine does not do what a job asks for, and is not meant to."""


def known(name: str) -> str:
    """The name of an engine, if there is such a one.

    Raises:
        ValueError: there is none.
    """
    if name not in ENGINES:
        raise ValueError(f"there is no runtime {name!r}: {did_you_mean(name, ENGINES) or one_of(ENGINES)}")
    return name


def target(engine: str) -> str:
    """The target whose files a runtime opens."""
    suffix = RUNTIMES[engine].suffixes[0]
    return next(name for name, entry in BACKENDS.items() if entry.suffix == suffix)


def suffix(engine: str) -> str:
    """What the names of an engine's files end in; empty for engines without files."""
    return "" if engine in BUILT else RUNTIMES[engine].suffixes[0]


def absent(engines: Sequence[str]) -> dict[str, str]:
    """The engines that are not installed, each with what installs it. No library is imported."""
    found = {}
    for engine in dict.fromkeys(engines):
        library, extra = ("torch", "torch") if engine in BUILT else RUNTIMES[engine][1:3]
        try:
            if not _installed(library):
                require(library, extra)  # which fails with the message
        except MissingExtraError as error:
            found[engine] = str(error)
    return found


def _installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ImportError:
        return False


def version(engine: str) -> str:
    """The version of an engine's library."""
    library = "torch" if engine in BUILT else RUNTIMES[engine].library
    names = metadata.packages_distributions().get(library, [])
    return metadata.version(names[0]) if names else ""


def check_precision(job: Job, has: Sequence[str]) -> None:
    """Check that an engine computes in a job's precision.

    Raises:
        ImpossibleError: it does not.
    """
    known = [name for name in PRECISIONS if name in has or variant(job.engine, name)]
    if job.precision not in known:
        raise ImpossibleError(f"{job.engine} computes in {', '.join(known)}")


def check_system(engine: str) -> None:
    """Check that an engine runs on this system.

    Raises:
        ImpossibleError: it does not.
    """
    wanted, why = SYSTEMS.get(engine, (sys.platform, ""))
    if sys.platform != wanted:
        raise ImpossibleError(why)


def open_engine(job: Job) -> Session:
    """The session of a job.

    Raises:
        MissingExtraError: a library is not installed.
        ImpossibleError: the engine does not compute in this precision.
        ValueError: the engine does not take the file.
    """
    if job.engine in BUILT:
        check_precision(job, ("f32", "bf16"))
        from archc.benchmarking.built import Built

        return Built(stored(job.network), job.precision, job.threads, compiled=job.engine == COMPILED)
    threads = None if job.engine in OWN_THREADS else job.threads
    return open_file(job.file, variant(job.engine, job.precision) or job.engine, threads=threads)
