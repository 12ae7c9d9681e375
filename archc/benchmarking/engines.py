"""What computes a network: torch itself, eagerly or compiled, and every runtime of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from archc.backends import BACKENDS, builder
from archc.benchmarking.job import Job, stored
from archc.document.diagnostics import did_you_mean, one_of
from archc.exporting.network import Network
from archc.extras import MissingExtraError, require
from archc.runtimes import RUNTIMES, open_file
from archc.runtimes.protocol import Port, Session

if TYPE_CHECKING:
    from archc.ir.state import Array

EAGER, COMPILED = "eager", "compiled"
BUILT = (EAGER, COMPILED)
"""Engines that build the network in torch."""

ENGINES = (*BUILT, *RUNTIMES)
"""All engines by name; runtimes have their own names."""

PRECISIONS = ("f32", "f16", "bf16", "int8")

LIMITS: Mapping[str, float] = {"f32": 1e-3, "f16": 5e-2, "bf16": 2e-1}
"""The largest difference from torch's f32 by precision that is still rounding; int8 is judged by `archc quantize`."""


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
            if find_spec(library) is None:
                require(library, extra)  # which fails with the message
        except MissingExtraError as error:
            found[engine] = str(error)
    return found


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
    if job.precision not in has:
        raise ImpossibleError(f"{job.engine} computes in {', '.join(has)}")


def open_engine(job: Job) -> Session:
    """The session of a job.

    Raises:
        MissingExtraError: a library is not installed.
        ImpossibleError: the engine does not compute in this precision.
        ValueError: the engine does not take the file.
    """
    if job.engine in BUILT:
        return Built(stored(job.network), job)
    return open_file(job.file, job.engine, threads=job.threads)


class Built(Session):
    """A network in torch, as it was trained: in evaluation mode, without a transform, or compiled."""

    def __init__(self, network: Network, job: Job) -> None:
        check_precision(job, ("f32", "bf16"))
        torch = require("torch", "torch")
        torch.set_num_threads(job.threads)
        self._torch = torch
        graph = network.graph
        self.input = Port("image", (None, *graph.input.shape), "float32")
        self.outputs = tuple(graph.outputs)
        self.metadata = {}
        self._single = graph.single
        self._dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32
        self.module = builder("torch").build(graph, state=network.state).eval().to(self._dtype)

    def prepare(self, images: Array) -> Any:
        """As every session's."""
        return self._torch.from_numpy(images).to(self._dtype)

    def execute(self, prepared: Any) -> Any:
        """As every session's."""
        with self._torch.inference_mode():
            return self.module(prepared)

    def results(self, raw: Any) -> dict[str, Array]:
        """As every session's."""
        named = {self.outputs[0]: raw} if self._single else raw
        return {name: value.float().numpy() for name, value in named.items()}
