"""What loading a checkpoint did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from archc.document.diagnostics import Diagnostic


@dataclass(frozen=True)
class StageLoad:
    """What one stage took from the checkpoint."""

    name: str
    tensors: int
    params: int


def by_stage(loaded: Iterable[tuple[str, int]]) -> tuple[StageLoad, ...]:
    """What each stage took, in order: `loaded` has the dotted name of every tensor with the parameters in it."""
    stages: dict[str, StageLoad] = {}
    for tensor, params in loaded:
        name = tensor.partition(".")[0]
        so_far = stages.get(name, StageLoad(name, 0, 0))
        stages[name] = StageLoad(name, so_far.tensors + 1, so_far.params + params)
    return tuple(stages.values())


@dataclass(frozen=True)
class LoadReport:
    """Where every tensor of the checkpoint and of the model went. `str()` of it says it in a few lines."""

    file: str
    source: str
    """The library whose names the checkpoint has."""
    naming: str
    """Which of its schemes."""
    detected: bool
    """Whether the source was found by the names, not told."""
    wrapper: str
    """What the tensors lay under, such as `model_ema`."""
    prefix: str
    """What was taken off every name, such as `module.`"""
    stages: tuple[StageLoad, ...]
    left: tuple[str, ...]
    """The model's tensors that were left as they were, as asked for with `partial`."""
    skipped: tuple[str, ...]
    """The checkpoint's tensors for those."""
    pruned: tuple[str, ...]
    """The checkpoint's tensors for rows that the network's outputs do not need."""
    uncounted: tuple[str, ...]
    """Batch norms' counters that the checkpoint lacks; they are zero now, and nothing depends on them."""
    casts: tuple[str, ...]
    """Conversions of numbers, such as `float16 to float32`."""
    warnings: tuple[Diagnostic, ...]
    """What may not be as the weights expect it."""

    @property
    def tensors(self) -> int:
        """How many tensors were loaded."""
        return sum(stage.tensors for stage in self.stages)

    @property
    def params(self) -> int:
        """How many parameters they hold, without statistics and counters."""
        return sum(stage.params for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        values = asdict(self)
        values["warnings"] = [warning.to_dict() for warning in self.warnings]
        return {**values, "tensors": self.tensors, "params": self.params}

    def lines(self) -> list[str]:
        """What there is to say beside the numbers."""
        found = "detected by its names" if self.detected else "as told"
        said = [f"source: {self.source}'s names ({self.naming}), {found}"]
        if self.wrapper or self.prefix:
            parts = [f"under `{self.wrapper}`"] * bool(self.wrapper) + [f"without `{self.prefix}`"] * bool(self.prefix)
            said.append(f"taken {', '.join(parts)}")
        said += [f"converted {cast}" for cast in self.casts]
        said += _listed("left as it was", self.left)
        said += _listed("in the checkpoint, and not used", self.skipped)
        said += _listed("in the checkpoint, and not needed by the outputs", self.pruned)
        if self.uncounted:
            said.append(f"no counters of {len(self.uncounted)} batch norms in the checkpoint: set to 0")
        return said

    def __str__(self) -> str:
        head = f"loaded {self.tensors} tensors, {self.params:,} parameters"
        return "\n".join((head + (f" from {self.file}" if self.file else ""), *self.lines()))


def _listed(what: str, names: tuple[str, ...]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(names[:8]) + (f", … ({len(names)} in all)" if len(names) > 8 else "")
    return [f"{what}: {shown}"]
