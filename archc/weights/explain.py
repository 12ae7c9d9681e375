"""Which spec a checkpoint fits: found by trying, as lowering a spec costs a millisecond.

What is tried: the spec itself and every bundled one, each over widths and depths, with and without its reduced tail,
with as many classes as the checkpoint's last layer has; then changes of single rows. What fits accounts for every
tensor.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

from archc import passes
from archc.blocks import REGISTRY
from archc.blocks.heads import BACKBONE
from archc.blocks.lower import lower
from archc.document.diagnostics import SpecError, SpecWarning
from archc.ir.graph import Graph
from archc.language import load
from archc.language.row import Row
from archc.language.schema import Spec
from archc.language.values import Ratio
from archc.weights.maps import Layout
from archc.weights.match import Match, match
from archc.weights.naming import COUNTER, Slot, slots
from archc.weights.partial import selects
from archc.weights.policy import expectations, nearest
from archc.weights.read import Checkpoint

WIDTHS = tuple(step / 20 for step in range(2, 41))
DEPTHS = (1.0, 1.1, 1.2, 1.4, 1.8, 2.2, 2.6, 3.1)
"""EfficientNet's, Lite and not."""


@dataclass(frozen=True)
class Fit:
    """A spec that a checkpoint fits: a bundled one's name, or none for the spec at hand, and what to override in it."""

    name: str
    changes: Mapping[str, Any]
    spec: Spec
    why: str = ""

    def __str__(self) -> str:
        overrides = (f"{key}={_written(value)}" for key, value in self.changes.items())
        return " ".join((self.name, *overrides)).strip()


class Goal:
    """The checkpoint that candidates are held against."""

    def __init__(self, layout: Layout | None, checkpoint: Checkpoint, partial: Sequence[str]) -> None:
        self.layout, self.checkpoint, self.partial = layout, checkpoint, partial
        self.shapes = checkpoint.shapes
        weights = (shape for name, shape in self.shapes.items() if not name.endswith(COUNTER.name))
        self.numbers = sum(map(math.prod, weights))
        own = any(name.startswith(f"{BACKBONE}.") for name in self.shapes)
        self.detects = any(rule.call for rule in layout.rows) if layout else own
        """Whether the checkpoint is a detector's."""

    def slots(self, graph: Graph) -> list[Slot]:
        """The candidate's tensors under the checkpoint's kind of names."""
        return slots(graph, self.layout)

    def match(self, graph: Graph) -> Match:
        """How a candidate fits."""
        return match(self.slots(graph), self.shapes, self.partial)

    def reached(self, spec: Spec | None) -> bool:
        """Whether a candidate fits completely."""
        graph = lowered(spec)
        if spec is None or graph is None:
            return False
        if not self.partial and spec.outputs is None and graph.total.params + graph.total.buffers != self.numbers:
            return False  # which takes no names to see
        return self.match(graph).complete

    def nameable(self, spec: Spec) -> bool:
        """Whether the library has a name for every tensor of such a network, whatever its widths."""
        slots = (slot for slot in self.slots(lower(spec)) if not slot.counter and not slot.pruned)
        return all(slot.names or selects(self.partial, slot.row) for slot in slots)

    def strangeness(self, spec: Spec) -> tuple[int, int]:
        """How many structural policies of a spec are not the library's, and how far down its list those stand."""
        policies = expectations(self.layout, self.checkpoint)
        policy, discords = nearest(lower(spec), policies)
        return sum(discord.structural for discord in discords), policies.index(policy)


def explain(spec: Spec, goal: Goal) -> Fit | None:
    """The best fit that is found: without strange policies first, then the spec at hand, then the fewest changes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        bundled = [(name, _bundled(name)) for name in load.LIBRARY.names()]
        likely = [(n, s) for n, s in bundled if (s.detector is not None) == goal.detects and goal.nameable(s)]
        found: list[Fit] = []
        for name, base in (("", spec), *sorted(likely, key=lambda pair: goal.strangeness(pair[1]))):
            fit = _fit(name, base, goal)
            if fit is not None:
                found.append(fit)
                if goal.strangeness(fit.spec)[0] == 0:
                    break
    best = min(found, key=lambda fit: goal.strangeness(fit.spec), default=None)
    return replace(best, why=_difference(spec, best.spec)) if best is not None and best.name else best


@cache
def _bundled(name: str) -> Spec:
    return load.load(name, blocks=REGISTRY)


def _fit(name: str, base: Spec, goal: Goal) -> Fit | None:
    """The variant of a spec that the checkpoint fits, the one with the fewest changes."""
    for changes in _variants(base, goal):
        spec = overridden(base, changes)
        if spec is not None and goal.reached(spec):
            return Fit(name, changes, spec)
    return None


def _variants(base: Spec, goal: Goal) -> list[dict[str, Any]]:
    classes = _classes(base, goal)
    tails = (base.reduced_tail, not base.reduced_tail) if base.tail else (base.reduced_tail,)
    widths = (base.width_mult, *(width for width in WIDTHS if width != base.width_mult))
    found: list[dict[str, Any]] = []
    for depth, tail, width in product(_depths(base, goal), tails, widths):
        wanted = {"width_mult": width, "depth_mult": depth, "reduced_tail": tail}
        found.append({key: value for key, value in wanted.items() if getattr(base, key) != value} | classes)
    return sorted(found, key=len)


def _depths(base: Spec, goal: Goal) -> list[float]:
    """The depths at which most names agree."""
    if all(row.repeat is None for _, _, row in base.rows()):
        return [base.depth_mult]
    strange: dict[float, int] = {}
    for depth in dict.fromkeys((base.depth_mult, *DEPTHS)):
        graph = lowered(overridden(base, {"depth_mult": depth} if depth != base.depth_mult else {}))
        names = {name for slot in goal.slots(graph) for name in slot.names} if graph else set()
        strange[depth] = len(names ^ goal.shapes.keys())
    return [depth for depth, number in strange.items() if number == min(strange.values())][:2]


def _classes(base: Spec, goal: Goal) -> dict[str, Any]:
    """The change that gives the last layer as many outputs as the checkpoint's has."""
    graph = lowered(base)
    if graph is not None and graph.calls:
        return _detected_classes(base, goal, graph)
    last = [slot for slot in goal.slots(graph) if slot.weight.name == "weight"][-1:] if graph else []
    if not last or not last[0].names or last[0].names[0] not in goal.shapes or selects(goal.partial, last[0].row):
        return {}
    slot, count = last[0], goal.shapes[last[0].names[0]][0]
    if slot.weight.shape[0] == count:
        return {}
    for key in ("num_classes", f"stages.{slot.row}.out"):
        changed = lowered(overridden(base, {key: count}))
        if changed is not None and changed.shapes()[slot.node].channels == count:
            return {key: count}
    return {}


def _detected_classes(base: Spec, goal: Goal, graph: Graph) -> dict[str, Any]:
    """The same of a detector, whose predictions are several for each class."""
    for slot in reversed(goal.slots(graph)):
        if slot.part != "head" or slot.weight.name != "weight" or not slot.names or slot.names[0] not in goal.shapes:
            continue
        here, there = slot.weight.shape[0], goal.shapes[slot.names[0]][0]
        if here == there or here % base.num_classes or selects(goal.partial, slot.row):
            continue
        classes, rest = divmod(there, here // base.num_classes)
        return {"num_classes": classes} if classes > 1 and not rest else {}
    return {}


def _difference(before: Spec, after: Spec) -> str:
    """How a checkpoint of `after` was made, seen from `before`: with expansions counted the other way, if just that."""
    pair = [passes.run(spec, after="repeat").rows() for spec in (before, after)]
    old, new = ({(stage, index): row for stage, index, row in rows} for rows in pair)
    if old.keys() != new.keys() or any(type(old[at]) is not type(new[at]) and _expansions(new[at]) for at in new):
        return ""
    kinds = {
        (isinstance(mine, Ratio), isinstance(theirs, Ratio))
        for at, row in new.items()
        for name in _expansions(row)
        if (mine := getattr(old[at], name)) != (theirs := getattr(row, name))
    }
    if kinds == {(False, True)}:
        return "made with ratio expansions"
    return "made with absolute expansions" if kinds == {(True, False)} else ""


def _expansions(row: Row) -> list[str]:
    """The row's counts that belong to its input."""
    return [name for name, role in row.channel_fields() if role.follows_input]


def overridden(spec: Spec, changes: Mapping[str, Any]) -> Spec | None:
    """A candidate; None where the changes make no sense."""
    try:
        return spec.override(changes) if changes else spec
    except SpecError:
        return None


def lowered(spec: Spec | None) -> Graph | None:
    """A candidate's graph; None where it has none."""
    try:
        return None if spec is None else lower(spec)
    except SpecError:
        return None


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
