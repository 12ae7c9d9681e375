"""What loading a checkpoint did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from archc.document.diagnostics import Diagnostic
from archc.weights.naming.match import Status


@dataclass(frozen=True)
class StageLoad:
    """What one stage took from the checkpoint."""

    name: str
    tensors: int
    params: int


@dataclass(frozen=True)
class TensorLoad:
    """What became of one tensor, of the network, of the checkpoint, or of both."""

    status: Status
    name: str
    """The network's own name of it; empty if it has none."""
    stage: str
    names: tuple[str, ...]
    """The checkpoint's names of it, several if it lies in pieces."""
    params: int
    """The parameters in it; 0 for statistics and counters."""


@dataclass(frozen=True)
class LoadReport:
    """Where every tensor of the checkpoint and of the network went. `str()` of it says it in a few lines."""

    file: str
    source: str
    """The library whose names the checkpoint has."""
    naming: str
    """Which of its schemes."""
    detected: bool
    """Whether the source was found by the names, not passed."""
    wrapper: str
    """What the tensors lay under, such as `model_ema`."""
    prefix: str
    """What was taken off every name, such as `module.`"""
    entries: tuple[TensorLoad, ...]
    """Every tensor with its one status."""
    casts: tuple[str, ...]
    """Conversions of numbers, such as `float16 to float32`."""
    transforms: tuple[str, ...]
    """The transforms that rewrote the weights on the way, because the network was built with them."""
    warnings: tuple[Diagnostic, ...]
    """What may not be as the weights expect it, and weights that are no numbers."""

    @property
    def stages(self) -> tuple[StageLoad, ...]:
        """What each stage took, in order."""
        found: dict[str, StageLoad] = {}
        for entry in self.entries:
            if entry.status is Status.LOADED:
                so_far = found.get(entry.stage, StageLoad(entry.stage, 0, 0))
                found[entry.stage] = StageLoad(entry.stage, so_far.tensors + 1, so_far.params + entry.params)
        return tuple(found.values())

    @property
    def tensors(self) -> int:
        """How many tensors were loaded."""
        return sum(entry.status is Status.LOADED for entry in self.entries)

    @property
    def params(self) -> int:
        """How many parameters they hold, without statistics and counters."""
        return sum(entry.params for entry in self.entries if entry.status is Status.LOADED)

    @property
    def left(self) -> tuple[str, ...]:
        """The network's tensors that were left as they were, as asked for with `partial`."""
        return tuple(entry.name for entry in self.entries if entry.status is Status.LEFT)

    @property
    def skipped(self) -> tuple[str, ...]:
        """The checkpoint's tensors for those."""
        return tuple(n for e in self.entries if e.status in (Status.LEFT, Status.SKIPPED) for n in e.names)

    @property
    def pruned(self) -> tuple[str, ...]:
        """The checkpoint's tensors for rows that the network's outputs do not need."""
        return tuple(name for entry in self.entries if entry.status is Status.PRUNED for name in entry.names)

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Batch norms' counters that the checkpoint lacks; they are zero now, and nothing depends on them."""
        return tuple(entry.name for entry in self.entries if entry.status is Status.UNCOUNTED)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "file": self.file,
            "source": self.source,
            "naming": self.naming,
            "detected": self.detected,
            "wrapper": self.wrapper,
            "prefix": self.prefix,
            "stages": [asdict(stage) for stage in self.stages],
            "left": list(self.left),
            "skipped": list(self.skipped),
            "pruned": list(self.pruned),
            "uncounted": list(self.uncounted),
            "casts": list(self.casts),
            "transforms": list(self.transforms),
            "warnings": [warning.to_dict() for warning in self.warnings],
            "tensors": self.tensors,
            "params": self.params,
        }

    def lines(self) -> list[str]:
        """What there is to say beside the numbers."""
        found = "detected by its names" if self.detected else "as requested"
        said = [f"source: {self.source}'s names ({self.naming}), {found}"]
        if self.wrapper or self.prefix:
            parts = [f"under `{self.wrapper}`"] * bool(self.wrapper) + [f"without `{self.prefix}`"] * bool(self.prefix)
            said.append(f"taken {', '.join(parts)}")
        said += [f"converted {cast}" for cast in self.casts]
        if self.transforms:
            said.append(f"rewritten as the network is: {', '.join(self.transforms)}")
        said += _listed("left as it was", self.left)
        said += _listed("in the checkpoint, and not used", self.skipped)
        said += _listed("in the checkpoint, and not needed by the outputs", self.pruned)
        if self.uncounted:
            said.append(f"no counters of {len(self.uncounted)} batch norms in the checkpoint: set to 0")
        return said

    def __str__(self) -> str:
        head = f"loaded {self.tensors} tensors, {self.params:,} parameters"
        return "\n".join((head + (f" from {self.file}" if self.file else ""), *self.lines()))


def _listed(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(names[:8]) + (f", … ({len(names)} in all)" if len(names) > 8 else "")
    return [f"{what}: {shown}"]
