"""Which spec a checkpoint fits, found by trying: lowering a spec takes about a millisecond.

The spec at hand is tried first, then every bundled one, each over widths and depths, with and without its reduced tail,
and with as many classes as the checkpoint's last layer has. A spec fits if it accounts for every tensor.

Cheap comparisons come first. A spec that has another number of tensors at every depth is put aside before any tensor
gets a name, and one with other names, whatever its widths. For the rest, the widths with the right total of numbers are
found by bisection, because a network grows with its width. Only these are compared tensor by tensor.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

from archc import passes
from archc.blocks import REGISTRY
from archc.blocks.lower import lower
from archc.document.diagnostics import SpecError, no_python_warnings
from archc.ir.graph import Graph
from archc.ir.state import is_counter
from archc.language import load
from archc.language.row import Row
from archc.language.schema import Spec
from archc.language.values import Ratio
from archc.passes.heads import JOINT, RPN, SSD
from archc.weights.checkpoint import Checkpoint
from archc.weights.explaining.policy import expectations, nearest
from archc.weights.naming.match import Match, Status, match
from archc.weights.naming.partial import selects
from archc.weights.naming.schemes import Scheme
from archc.weights.naming.slots import Naming, Slot

WIDTHS = tuple(step / 20 for step in range(2, 41))
DEPTHS = (1.0, 1.1, 1.2, 1.4, 1.8, 2.2, 2.6, 3.1)
"""EfficientNet's, Lite and not."""

_NEAR = 0.15
"""The largest share of names that may be missing or left over at one width and agree at another: where a block's
expanded width equals its input's, libraries leave the expansion out."""

_FEW = 4
"""No more tensors than this differ: that is no other width, which changes every row."""

_PIECES = 0.25
"""The largest share of a checkpoint's tensors that may be further pieces of others."""

_STRUCTURAL = (Status.UNNAMED, Status.MISSING, Status.SURPLUS)


@dataclass(frozen=True)
class Candidate:
    """A spec with its graph, held against the checkpoint."""

    spec: Spec
    graph: Graph
    match: Match

    @property
    def strange(self) -> int:
        """How many tensors are on one side only."""
        return sum(1 for _ in self.match.having(*_STRUCTURAL))

    @property
    def other_head(self) -> bool:
        """Whether its head is not the checkpoint's, which no width can change."""
        return any(slot.section == "head" for slot in self.match.slots(Status.UNNAMED, Status.MISSING))


@dataclass(frozen=True)
class Fit:
    """A spec that a checkpoint fits: a bundled one's name, or none for the spec at hand, and what to override in it."""

    name: str
    changes: Mapping[str, Any]
    candidate: Candidate = field(repr=False)
    why: str = ""

    def __str__(self) -> str:
        overrides = (f"{key}={_written(value)}" for key, value in self.changes.items())
        return " ".join((self.name, *overrides)).strip()


class Goal:
    """The checkpoint that candidates are held against."""

    def __init__(self, scheme: Scheme | None, checkpoint: Checkpoint, partial: Sequence[str]) -> None:
        self.scheme, self.checkpoint, self.partial = scheme, checkpoint, partial
        self.shapes = checkpoint.shapes
        self.count = sum(not is_counter(name) for name in self.shapes)
        self.policies = expectations(scheme, checkpoint)
        own = any(name.startswith(tuple(f"{stage}." for stage in (RPN, *SSD, JOINT))) for name in self.shapes)
        self.detects = any(rule.stage for rule in scheme.rows) if scheme else own
        """Whether the checkpoint is a detector's."""

    def slots(self, graph: Graph) -> Sequence[Slot]:
        """The candidate's tensors under the checkpoint's kind of names."""
        return Naming(graph).slots(self.scheme)

    def candidate(self, spec: Spec | None) -> Candidate | None:
        """A spec held against the checkpoint; None where it has no graph."""
        graph = lowered(spec)
        if spec is None or graph is None:
            return None
        heads = self.scheme.heads if self.scheme else ()
        return Candidate(spec, graph, match(self.slots(graph), self.shapes, self.partial, heads))

    def total(self, found: Match) -> int:
        """The numbers in the checkpoint that a candidate's tensors must hold."""
        unused = found.names(Status.PRUNED, Status.SKIPPED, Status.LEFT)
        return self.checkpoint.numbers - sum(math.prod(self.shapes[name]) for name in unused if not is_counter(name))

    def strangeness(self, graph: Graph) -> tuple[int, int]:
        """How many structural policies of a network are not the library's, and how far down its list those stand."""
        policy, discords = nearest(graph, self.policies)
        return sum(discord.structural for discord in discords), self.policies.index(policy)


def search(own: Candidate, goal: Goal) -> Fit | None:
    """The best fit that is found: without strange policies first, then the spec at hand, then the fewest changes."""
    with no_python_warnings():
        found: list[tuple[tuple[Any, ...], Fit]] = []
        if fit := _fit("", own, goal):
            found.append(((goal.strangeness(fit.candidate.graph), False), fit))
        for name in () if found and found[0][0][0][0] == 0 else _likely(goal):
            spec = _bundled(name)
            if (spec.detector is not None) != goal.detects:
                continue
            if fit := _fit(name, spec, goal):
                order = goal.strangeness(fit.candidate.graph)
                found.append(((order, True, len(fit.changes), name), fit))
                if order == (0, 0):
                    break
    best = min(found, key=lambda pair: pair[0], default=(None, None))[1]
    return replace(best, why=_difference(own.spec, best.candidate.spec)) if best is not None and best.name else best


def _likely(goal: Goal) -> list[str]:
    """The bundled specs, those that bear the library's name first; short names before those derived from them."""
    names = [name for name in load.LIBRARY.names() if goal.detects or not _states_detector(name)]
    its = goal.scheme.library if goal.scheme else ""
    return sorted(names, key=lambda name: (its not in name, len(name), name))


@cache
def _states_detector(name: str) -> bool:
    return "\ndetector:" in load.LIBRARY.find(name).read_text(encoding="utf-8")


@cache
def _bundled(name: str) -> Spec:
    return load.load(name, blocks=REGISTRY)


def _fit(name: str, own: Candidate | Spec, goal: Goal) -> Fit | None:
    """The variant of a spec that the checkpoint fits, the one with the fewest changes."""
    spec = own if isinstance(own, Spec) else own.spec
    found: list[Fit] = []
    for depth in _depths(spec, goal):
        changes = {"depth_mult": depth} if depth != spec.depth_mult else {}
        base = own if isinstance(own, Candidate) and not changes else goal.candidate(overridden(spec, changes))
        if base is None or base.other_head or base.strange > _NEAR * len(goal.shapes):
            continue
        if base.match.complete:
            found.append(Fit(name, changes, base))
        else:
            found += _variants(name, spec, changes, base, goal)
    return min(found, key=lambda fit: len(fit.changes), default=None)


def _variants(name: str, spec: Spec, changes: Mapping[str, Any], base: Candidate, goal: Goal) -> Iterator[Fit]:
    """The widths, with and without the reduced tail, at which a spec with these changes fits."""
    classes, total = _classes(base, goal), goal.total(base.match)
    differing = sum(1 for _ in base.match.having(Status.DIFFERING))
    for tail in (spec.reduced_tail, not spec.reduced_tail) if spec.tail else (spec.reduced_tail,):
        tailed = {"reduced_tail": tail} if tail != spec.reduced_tail else {}
        widened = partial(_widened, spec, {**changes, **tailed, **classes})
        numbers = partial(_numbers, spec, widened, goal)
        widths = [spec.width_mult] if numbers(spec.width_mult) == total else []
        if not widths and differing > _FEW:
            widths = _equal(WIDTHS, numbers, total)
        for width in widths:
            candidate = goal.candidate(overridden(spec, widened(width)))
            if candidate is not None and candidate.match.complete:
                yield Fit(name, widened(width), candidate)
                break  # the other widths round to the same network


def _widened(spec: Spec, changes: Mapping[str, Any], width: float) -> Mapping[str, Any]:
    return {"width_mult": width, **changes} if width != spec.width_mult else changes


def _numbers(spec: Spec, widened: Callable[[float], Mapping[str, Any]], goal: Goal, width: float) -> int:
    """The numbers in the rows of a variant that are not left alone; -1 where it makes no sense."""
    graph = lowered(overridden(spec, widened(width)))
    if graph is None:
        return -1
    if not goal.partial:
        return graph.total.params + graph.total.buffers
    costs = [region.total for region in graph.regions if not selects(goal.partial, region.name)]
    for call in graph.calls:
        costs += [r.total for r in call.graph.regions if not selects(goal.partial, f"{call.name}.{r.name}")]
    return sum(cost.params + cost.buffers for cost in costs)


def _equal(values: Sequence[float], function: Callable[[float], int], wanted: int) -> list[float]:
    """The values at which a growing function is `wanted`."""
    first = bisect_left(values, wanted, key=function)
    found: list[float] = []
    for value in values[first:]:
        if function(value) != wanted:
            break
        found.append(value)
    return found


def _depths(spec: Spec, goal: Goal) -> list[float]:
    """The depths at which the number of tensors is nearest to the checkpoint's; none if it is far off at all depths.

    Tensors that a library keeps in pieces count several times in the checkpoint, so it may have more.
    """

    @cache
    def excess(depth: float) -> int:
        graph = lowered(overridden(spec, {"depth_mult": depth} if depth != spec.depth_mult else {}))
        if graph is None:
            return goal.count + 1
        mine = sum(1 for key, _ in graph.tensors() if not selects(goal.partial, key))
        return mine - goal.count

    depths = [spec.depth_mult]
    if excess(spec.depth_mult) != 0 and any(row.repeat is not None for _, _, row in spec.rows()):
        after = bisect_left(DEPTHS, 0, key=excess)
        depths += [depth for depth in DEPTHS[max(after - 1, 0) : after + 1] if depth != spec.depth_mult]
    near = [depth for depth in depths if -_PIECES * goal.count <= excess(depth) <= _NEAR * goal.count or goal.partial]
    least = min((abs(excess(depth)) for depth in near), default=0)
    return [depth for depth in near if abs(excess(depth)) == least][:2]


def _classes(base: Candidate, goal: Goal) -> dict[str, Any]:
    """The change that gives the last layer as many outputs as the checkpoint's has."""
    if base.graph.detector is not None:
        return _detected_classes(base, goal)
    last = [slot for slot in goal.slots(base.graph) if slot.weight.name == "weight"][-1:]
    if not last or selects(goal.partial, last[0].row):
        return {}
    slot, count = last[0], _outputs(last[0], goal)
    if count in (0, slot.weight.shape[0]):
        return {}
    for key in ("num_classes", f"stages.{slot.row}.out"):
        changed = lowered(overridden(base.spec, {key: count}))
        if changed is not None and dict(changed.tensors())[slot.key].shape[0] == count:
            return {key: count}
    return {}


def _detected_classes(base: Candidate, goal: Goal) -> dict[str, Any]:
    """The same of a detector, whose predictions are several for each class."""
    classes = base.spec.num_classes
    for slot in reversed(goal.slots(base.graph)):
        if slot.section != "head" or slot.weight.name != "weight" or selects(goal.partial, slot.row):
            continue
        here, there = slot.weight.shape[0], _outputs(slot, goal)
        if there in (0, here) or here % classes:
            continue
        number, rest = divmod(there, here // classes)
        return {"num_classes": number} if number > 1 and not rest else {}
    return {}


def _outputs(slot: Slot, goal: Goal) -> int:
    """The outputs of a layer in the checkpoint; 0 where it has none."""
    shape = goal.shapes.get(slot.names[0], ()) if slot.names else ()
    return shape[0] if shape else 0


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
    """A variant of a spec; None where the changes make no sense."""
    try:
        return spec.override(changes) if changes else spec
    except SpecError:
        return None


def lowered(spec: Spec | None) -> Graph | None:
    """A spec's graph; None where it has none."""
    try:
        return None if spec is None else lower(spec)
    except SpecError:
        return None


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


__all__ = ["Candidate", "Fit", "Goal", "lowered", "overridden", "search"]
