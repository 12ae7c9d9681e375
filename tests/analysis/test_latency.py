"""Latency tables: exact where operations were measured, and estimates whose model is checked on made-up machines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import nnls

import archc
from archc.analysis.latency import Conditions, LatencyTable, Measured
from archc.analysis.latency_model import features
from archc.analysis.least_squares import non_negative
from archc.analysis.units import Unit, units
from archc.ir.graph import Graph
from archc.transforms import apply

WHERE = Conditions("some_runtime", "1.0", "f32", 1, 1, "a machine")


def folded(name: str, *overrides: str) -> Graph:
    return apply(archc.lower(archc.load(name, list(overrides))), None, ["inference"])[0]


def table(times: dict[str, list[tuple[Unit, float]]]) -> LatencyTable:
    networks = tuple(Measured(name, sum(ms for _, ms in found), tuple(found)) for name, found in times.items())
    return LatencyTable(WHERE, networks)


def numbered(graph: Graph) -> list[tuple[Unit, float]]:
    """Every unit of a network, with a time of its own."""
    return [(unit, 0.5 + number) for number, unit in enumerate(dict.fromkeys(units(graph)))]


@pytest.mark.parametrize("name", [name for name in archc.specs() if "fasterrcnn" not in name])
def test_every_operation_belongs_to_one_unit(name: str) -> None:
    graph = folded(name)
    members = [member for unit in units(graph) for member in unit.members]
    assert sorted(members) == sorted(node.name for node in graph.nodes[1:])
    assert len(set(members)) == len(members)
    assert sum(unit.macs for unit in units(graph) if unit.ops[0].macs(unit.output, *unit.inputs)) == graph.total.macs


def test_what_belongs_to_a_unit() -> None:
    found = {unit.name: unit for unit in units(folded("mnv3_small"))}
    assert found["stem.0.conv"].members == ("stem.0.conv", "stem.0.act")
    assert found["stem.0.conv"].kind == "conv 3×3 + hardswish"
    # The activation is read by the squeeze and by the gate, so the gate stands alone.
    assert found["c4.1.depthwise.conv"].kind == "conv 5×5 depthwise + hardswish"
    assert found["c4.1.squeeze.reduce"].kind == "conv 1×1 of one pixel + relu"
    assert found["c4.1.squeeze.scale"].kind == "gate"
    # The sum joins what was computed last, although it reads it second or first.
    assert found["c4.1.project.conv"].members == ("c4.1.project.conv", "c4.1.add")
    assert found["c4.1.project.conv"].others == (found["c4.1.project.conv"].output,)
    assert found["c4.0.project.conv"].kind == "conv 1×1"
    resnet = {unit.name: unit for unit in units(folded("resnet50"))}
    assert "conv 1×1 + add + relu" in {unit.kind for unit in resnet.values()}


def test_a_network_of_measured_operations_costs_their_sum() -> None:
    graph = archc.lower("mnv3_small")
    times = numbered(folded("mnv3_small"))
    # Equal units have one price: the mean of their times.
    by_key: dict[object, list[float]] = {}
    for unit, ms in times:
        by_key.setdefault(unit.key, []).append(ms)
    price = table({"small": times}).price(graph)
    assert price.ms == pytest.approx(sum(ms for _, ms in times), rel=1e-12)
    assert price.measured == len(price.units) == len(times)
    assert [p.ms for p in price.units] == [pytest.approx(np.mean(by_key[unit.key])) for unit, _ in times]
    rows = {row: sum(p.ms for p in price.units if p.unit.row == row) for row in price.rows}
    assert price.rows == pytest.approx(rows)
    assert set(rows) == {region.name for region in folded("mnv3_small").regions if region.subgraph.nodes}


def test_estimates_are_exact_on_a_machine_that_follows_the_model() -> None:
    """A made-up machine whose times are the model's: 3 ns a thousand MACs and so on, by class."""

    def machine(unit: Unit) -> float:
        factor = 1 + sum(map(ord, unit.kind)) % 7
        return factor * sum(a * b for a, b in zip((3e-6, 2e-6, 5e-6, 2e-2), features(unit), strict=True))

    made = {
        f"{name} {width}": [(unit, machine(unit)) for unit in units(folded(name, f"width_mult={width}"))]
        for name in ("mnv3_small", "mnv3_large")
        for width in (0.5, 0.75, 1.0, 1.25, 1.5)
    }
    for name, change in (("mnv3_small", "width_mult=0.6"), ("mnv3_large", "stages.c4.1.expand=320")):
        graph = archc.lower(archc.load(name, [change]))
        price = table(made).price(graph)
        assert price.measured < len(price.units)
        for priced in price.units:
            assert priced.ms == pytest.approx(machine(priced.unit), rel=1e-6), priced.unit.kind


def test_a_class_with_few_units_takes_the_shape_of_its_kind() -> None:
    def machine(unit: Unit) -> float:
        return (1e-6 * unit.macs + 1e-2) * (2.0 if unit.kind.endswith("hardswish") else 1.0)

    graph = folded("mnv3_small")
    kind = "conv 3×3 depthwise + hardswish"
    many = [(unit, machine(unit)) for unit in units(folded("mnv3_large", "width_mult=0.5"))]
    few = [one for one in many if one[0].kind == kind][:1] + [one for one in many if one[0].kind != kind]
    other = [(unit, machine(unit)) for unit in units(graph)]
    known = table({"large": few, "small": other})
    price = known.price(archc.lower("mnv3_large"))
    found = [p for p in price.units if p.unit.kind == kind]
    assert found
    for priced in found:  # the slope is known from other 3×3 depthwise convolutions, the factor from the one unit
        assert priced.ms == pytest.approx(machine(priced.unit), rel=0.35)


@pytest.mark.parametrize("seed", range(20))
def test_least_squares_are_those_of_scipy(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.standard_normal((9, 4)) * [1.0, 1e3, 1e-3, 1e6]
    values = random.standard_normal(9)
    wanted, residual = nnls(rows, values)
    found = np.array(non_negative(rows.tolist(), values.tolist()))
    assert np.linalg.norm(rows @ found - values) == pytest.approx(residual, rel=1e-9)
    np.testing.assert_allclose(found * [1.0, 1e3, 1e-3, 1e6], wanted * [1.0, 1e3, 1e-3, 1e6], rtol=1e-6, atol=1e-9)


def test_least_squares_of_dependent_columns() -> None:
    found = non_negative([[1.0, 2.0], [2.0, 4.0]], [3.0, 6.0])
    assert found[0] + 2 * found[1] == pytest.approx(3.0)
    assert non_negative([[1.0], [2.0]], [-1.0, -1.0]) == (0.0,)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    known = table({"small width_mult=0.5": numbered(folded("mnv3_small", "width_mult=0.5"))})
    known = known.joined(table({"mobilevit «xs»": numbered(folded("mobilevit_xs"))}))
    path = tmp_path / "table.json"
    path.write_text(known.to_json(), encoding="utf-8")
    assert LatencyTable.read(path) == known
    assert json.loads(known.to_json()) == known.to_dict()


def test_networks_of_a_table_are_measured_under_the_same_conditions() -> None:
    known = table({"small": numbered(folded("mnv3_small"))})
    other = LatencyTable(Conditions("some_runtime", "1.0", "f32", 2, 1, "a machine"), known.networks)
    with pytest.raises(archc.SpecError, match=r"1 thread, .* and this is .*2 threads") as raised:
        known.joined(other)
    assert raised.value.diagnostics[0].id == "latency-table"


def test_a_network_is_replaced_only_on_request() -> None:
    known = table({"small": numbered(folded("mnv3_small")), "large": numbered(folded("mnv3_large"))})
    new = table({"small": [(unit, 2 * ms) for unit, ms in known.networks[0].units]})
    with pytest.raises(archc.SpecError, match="the table has `small` already"):
        known.joined(new)
    joined = known.joined(new, replacing=True)
    assert [network.name for network in joined.networks] == ["large", "small"]
    assert joined.networks[1].ms == 2 * known.networks[0].ms


def test_an_unknown_class_is_named_with_its_row() -> None:
    known = table({"small": numbered(folded("mnv3_small"))})
    with pytest.raises(archc.SpecError, match=r"no `conv 7×7 depthwise \+ hardswish`, which row `c4\.1`") as raised:
        known.price(archc.lower(archc.load("mnv3_small", ["stages.c4.1.kernel=7"])))
    assert raised.value.diagnostics[0].id == "unknown-latency"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda value: value.update(format="other"), "`format` is not"),
        (lambda value: value.update(version=2), "version 2"),
        (lambda value: value.pop("conditions"), "damaged"),
        (lambda value: value.update(networks=[]), "no networks"),
        (lambda value: value["networks"][0].pop("units"), "damaged"),
        (lambda value: value["networks"][0].update(ms=-1), "no time"),
        (lambda value: value["networks"][0]["units"][0].update(ms=float("nan")), "no time"),
        (lambda value: value["networks"][0]["units"][0]["ops"][0].update(op="conv9"), "no operation `conv9`"),
        (lambda value: value["networks"][0]["units"][0]["inputs"][0]["sizes"].pop(), "damaged"),
        (lambda value: value["networks"][0]["units"][0].update(ops=[]), "damaged"),
    ],
)
def test_a_damaged_table_is_refused(change: object, says: str, tmp_path: Path) -> None:
    value = table({"small": numbered(folded("mnv3_small"))}).to_dict()
    assert callable(change)
    change(value)
    path = tmp_path / "table.json"
    path.write_text(json.dumps(value))
    with pytest.raises(archc.SpecError, match=says) as raised:
        LatencyTable.read(path)
    assert raised.value.diagnostics[0].id == "latency-table"


def test_a_profile_is_scaled_to_the_network() -> None:
    found = units(folded("mnv3_small"))
    measured = Measured.of("small", 10.0, [(unit, 3.0) for unit in found])
    assert [ms for _, ms in measured.units] == [pytest.approx(10 / len(found))] * len(found)
    with pytest.raises(ValueError, match="saw no operation"):
        Measured.of("small", 10.0, [(unit, 0.0) for unit in found])
