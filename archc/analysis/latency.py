"""Latency tables: what each operation of some networks took on one machine, and what it says of other networks.

A table is a JSON file, version 1:

    {"format": "archc-latency", "version": 1,
     "conditions": {"runtime", "runtime_version", "precision", "threads", "batch", "machine"},
     "networks": [{"name": …, "ms": …,                                 the whole network, measured as such
                   "units": [{"row", "members": [names],
                              "ops": [{"op": "conv", "attributes": {…}}, …],
                              "inputs": [SHAPE, …], "others": [SHAPE, …], "ms": …}]}]}

Operations and shapes are written as in a graph's JSON form (`archc.ir.serial`). A unit is an operation with the
elementwise ones behind it (`archc.analysis.units`), of the network after the transform `inference`. All times are
those of a whole batch. The times of a network's units add up to its own.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from archc.analysis.latency_model import Model, models
from archc.analysis.units import Key, Unit, units
from archc.document.diagnostics import fail
from archc.ir.graph import Graph
from archc.ir.serial import attributes, read_op, read_shape, shape_json
from archc.transforms import apply

FORMAT, VERSION = "archc-latency", 1

INFERENCE = "inference"


@dataclass(frozen=True)
class Conditions:
    """What a table was measured with. `batch` is the number of images at a time."""

    runtime: str
    runtime_version: str
    precision: str
    threads: int
    batch: int
    machine: str

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{self.runtime} {self.runtime_version}, {self.precision}, {threads}, batch {self.batch}, {self.machine}"


@dataclass(frozen=True)
class Measured:
    """One network's latency in milliseconds, and that of each of its units; they add up to it."""

    name: str
    ms: float
    units: tuple[tuple[Unit, float], ...]

    @classmethod
    def of(cls, name: str, ms: float, times: Sequence[tuple[Unit, float]]) -> Measured:
        """A network's units, whose times by a profiler are scaled so that they add up to the network's own.

        A profiler slows a network down, and does not see all of it.

        Raises:
            ValueError: it saw nothing.
        """
        total = sum(time for _, time in times)
        if not total > 0:
            raise ValueError(f"the profiler saw no operation of `{name}`")
        return cls(name, ms, tuple((unit, ms * time / total) for unit, time in times))


class Priced(NamedTuple):
    """A unit's latency in milliseconds: measured, or estimated from its class."""

    unit: Unit
    ms: float
    measured: bool


@dataclass(frozen=True)
class Latency:
    """What a table says of a network: its units in execution order, for a whole batch."""

    conditions: Conditions
    units: tuple[Priced, ...]

    @property
    def ms(self) -> float:
        """Milliseconds of the whole network."""
        return sum(priced.ms for priced in self.units)

    @property
    def measured(self) -> int:
        """How many units the table has measured."""
        return sum(priced.measured for priced in self.units)

    @cached_property
    def rows(self) -> Mapping[str, float]:
        """Milliseconds by row."""
        found: dict[str, float] = {}
        for priced in self.units:
            found[priced.unit.row] = found.get(priced.unit.row, 0.0) + priced.ms
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "ms": self.ms,
            "measured": self.measured,
            "estimated": len(self.units) - self.measured,
            "conditions": asdict(self.conditions),
            "rows": dict(self.rows),
            "operations": [
                {"name": p.unit.name, "row": p.unit.row, "kind": p.unit.kind, "ms": p.ms, "measured": p.measured}
                for p in self.units
            ],
        }


@dataclass(frozen=True)
class LatencyTable:
    """Networks that were measured under the same conditions."""

    conditions: Conditions
    networks: tuple[Measured, ...]

    @cached_property
    def known(self) -> Mapping[Key, tuple[Unit, float]]:
        """Every different unit, with the mean of its measured times."""
        found: dict[Key, tuple[Unit, list[float]]] = {}
        for network in self.networks:
            for unit, ms in network.units:
                found.setdefault(unit.key, (unit, []))[1].append(ms)
        return {key: (unit, sum(times) / len(times)) for key, (unit, times) in found.items()}

    @cached_property
    def models(self) -> Mapping[str, Model]:
        """What units cost that were not measured, by class."""
        return models(list(self.known.values()))

    def price(self, graph: Graph) -> Latency:
        """The latency of a network, without what runs on a detector's proposals.

        Raises:
            SpecError: `unknown-latency`: it has operations of a class that the table does not know.
        """
        plain = replace(graph, detector=None, calls=())
        if INFERENCE not in plain.transforms:
            plain = apply(plain, None, [INFERENCE])[0]
        found = units(plain)
        unknown: dict[str, Unit] = {}
        for unit in found:
            if unit.key not in self.known and unit.kind not in self.models:
                unknown.setdefault(unit.kind, unit)
        if unknown:
            kind, unit = next(iter(unknown.items()))
            more = f", and {len(unknown) - 1} more classes of operations" if len(unknown) > 1 else ""
            raise fail(
                "unknown-latency",
                f"the latency table knows no `{kind}`, which row `{unit.row}` of `{graph.name}` needs{more}",
                notes=(f"it was measured with {self.conditions}",),
                help="measure a network that has it too: `archc bench SPEC --per-op -o TABLE --append`",
            )
        return Latency(self.conditions, tuple(self._price(unit) for unit in found))

    def _price(self, unit: Unit) -> Priced:
        if unit.key in self.known:
            return Priced(unit, self.known[unit.key][1], True)
        return Priced(unit, self.models[unit.kind].ms(unit), False)

    def check(self, conditions: Conditions, names: Collection[str], *, replacing: bool = False) -> None:
        """Check that networks of these names, measured under these conditions, may be added.

        Raises:
            SpecError: `latency-table`: other conditions, or a network that the table has, unless it is to be replaced.
        """
        if self.conditions != conditions:
            message = f"the table was measured with {self.conditions}, and this is {conditions}"
            raise fail("latency-table", message, help="keep a table of its own for each of them")
        known = [network.name for network in self.networks if network.name in names]
        if known and not replacing:
            more = f" and {len(known) - 1} more of these networks" if len(known) > 1 else ""
            raise fail("latency-table", f"the table has `{known[0]}`{more} already", help="`--force` measures it anew")

    def joined(self, other: LatencyTable, *, replacing: bool = False) -> LatencyTable:
        """Both tables as one.

        Raises:
            SpecError: as `check`.
        """
        new = {network.name for network in other.networks}
        self.check(other.conditions, new, replacing=replacing)
        kept = (network for network in self.networks if network.name not in new)
        return replace(self, networks=(*kept, *other.networks))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the table's file."""
        networks = [
            {"name": network.name, "ms": network.ms, "units": [_unit(*timed) for timed in network.units]}
            for network in self.networks
        ]
        conditions = asdict(self.conditions)
        return {"format": FORMAT, "version": VERSION, "conditions": conditions, "networks": networks}

    def to_json(self) -> str:
        """The text of the table's file, one line for each unit."""
        value = self.to_dict()
        networks = ",\n".join(map(_network, value.pop("networks")))
        return f'{_line(value)[:-1]},\n"networks": [\n{networks}\n]}}\n'

    @classmethod
    def read(cls, path: Path) -> LatencyTable:
        """The table in a file.

        Raises:
            SpecError: `latency-table`: it is none, or damaged.
            OSError: it cannot be read.
        """
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise fail("latency-table", f"`{path}` is no latency table: {error}", help=_MAKE) from None

    @classmethod
    def from_json(cls, text: str) -> LatencyTable:
        """The table of a text.

        Raises:
            ValueError: it is none, or damaged.
        """
        value = json.loads(text)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError(f"its `format` is not `{FORMAT}`")
        if value.get("version") != VERSION:
            raise ValueError(f"it has version {value.get('version')} of the format; archc reads {VERSION}")
        try:
            found = cls(Conditions(**value["conditions"]), tuple(_read(network) for network in value["networks"]))
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"it is damaged: {type(error).__name__}: {error}") from None
        if not found.networks:
            raise ValueError("it has no networks")
        return found


_MAKE = "`archc bench SPEC --per-op -o TABLE` makes one"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _network(value: Mapping[str, Any]) -> str:
    lines = ",\n".join(map(_line, value["units"]))
    return f'{{"name": {_line(value["name"])}, "ms": {_line(value["ms"])}, "units": [\n{lines}\n]}}'


def _unit(unit: Unit, ms: float) -> dict[str, Any]:
    return {
        "row": unit.row,
        "members": list(unit.members),
        "ops": [{"op": op.kind, "attributes": attributes(op)} for op in unit.ops],
        "inputs": [shape_json(shape) for shape in unit.inputs],
        "others": [shape_json(shape) for shape in unit.others],
        "ms": ms,
    }


def _read(value: Mapping[str, Any]) -> Measured:
    found = [(_read_unit(item), _positive(item["ms"])) for item in value["units"]]
    return Measured(str(value["name"]), _positive(value["ms"]), tuple(found))


def _read_unit(value: Mapping[str, Any]) -> Unit:
    inputs, others = ([read_shape(shape) for shape in value[key]] for key in ("inputs", "others"))
    unit = Unit(value["row"], tuple(value["members"]), tuple(map(read_op, value["ops"])), tuple(inputs), tuple(others))
    unit.output  # noqa: B018 (raises where the shapes do not fit)
    return unit


def _positive(value: Any) -> float:
    if not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{value!r} is no time in milliseconds")
    return float(value)
