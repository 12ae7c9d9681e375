"""The latency of operations that were not measured, from those of their class that were.

The model of a class is `ms = a · macs + b · numbers moved + c · weights + d` with factors that are not negative, fitted
by least squares on the relative error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from archc.analysis.least_squares import non_negative
from archc.analysis.units import Unit

ENOUGH = 6
"""Different units of a class from which a model of its own is fitted."""

_LEAST = 1e-6
"""Milliseconds; a unit that took none still has a relative error."""


@dataclass(frozen=True)
class Model:
    """The cost of a class's units."""

    factors: tuple[float, ...]

    @classmethod
    def fit(cls, measured: Sequence[tuple[Unit, float]]) -> Model:
        """The model of measured units, each with its milliseconds."""
        rows, values = [], []
        for unit, ms in measured:
            weight = 1 / max(ms, _LEAST)
            rows.append([weight * value for value in features(unit)])
            values.append(weight * ms)
        return cls(non_negative(rows, values))

    def scaled(self, factor: float) -> Model:
        """The model of units that take `factor` times as long."""
        return Model(tuple(factor * value for value in self.factors))

    def ms(self, unit: Unit) -> float:
        """Milliseconds of a unit."""
        return sum(factor * value for factor, value in zip(self.factors, features(unit), strict=True))


def features(unit: Unit) -> tuple[float, ...]:
    """What the cost of a unit grows with."""
    return float(unit.macs), float(unit.moved), float(unit.weights), 1.0


def models(measured: Sequence[tuple[Unit, float]]) -> Mapping[str, Model]:
    """A model for every class of units, from all different units with their milliseconds.

    A class with few units takes the shape of its model from all units with such a first operation, whatever follows it.
    """
    heads: dict[str, list[tuple[Unit, float]]] = {}
    kinds: dict[str, list[tuple[Unit, float]]] = {}
    for unit, ms in measured:
        heads.setdefault(unit.head, []).append((unit, ms))
        kinds.setdefault(unit.kind, []).append((unit, ms))
    found: dict[str, Model] = {}
    for kind, own in kinds.items():
        if len(own) >= ENOUGH:
            found[kind] = Model.fit(own)
            continue
        shared = Model.fit(heads[own[0][0].head])
        ratios = [ms / known for unit, ms in own if (known := shared.ms(unit)) > 0]
        found[kind] = shared.scaled(median(ratios)) if ratios else shared
    return found
