"""Each runtime's profile finds its way to the operations of the network, whatever the runtime fuses."""

from __future__ import annotations

from pathlib import Path

import pytest

import archc
from archc.analysis.units import units
from archc.benchmarking.job import images, store
from archc.benchmarking.per_op import Setting, by_unit, measure
from archc.benchmarking.prepare import job_of, write_file
from archc.benchmarking.profilers import PROFILERS, profile
from archc.benchmarking.profilers.names import operation
from archc.exporting.network import open_network
from tests.benchmarking.test_processes import tiny


def test_names_of_fused_split_and_inserted_nodes() -> None:
    names = ["stem.0.conv", "stem.0.act", "c4.1", "c4.1.conv", "c4.10.conv", "c4.10"]
    known = {"head": "c4.10", **{name: name for name in names}}
    assert operation(["head"], known) == "c4.10"
    assert operation(["stem.0.conv_nchwc"], known) == "stem.0.conv"
    assert operation(["stem.0.act/WithoutBiases"], known) == "stem.0.act"
    assert operation(["c4.10.conv_abcd_acdb_c4.1.conv"], known) == "c4.10.conv"
    assert operation(["image_abcd_acdb_stem.0.conv/WithoutBiases"], known) == "stem.0.conv"
    assert operation(["ReorderOutput_token_1", "reorder_3", "c4.1"], known) == "c4.1"
    with pytest.raises(ValueError, match="timed `Other`"):
        operation(["Other", "c4.100"], known)


def test_times_go_to_the_units_that_hold_the_operations() -> None:
    graph = tiny().rewritten(["inference"]).graph
    found = units(graph)
    times = dict(by_unit(found, {"stem.0.conv": 1.0, "stem.0.act": 2.0, "c2.0.squeeze.scale": 4.0}))
    assert {unit.name: ms for unit, ms in times.items() if ms} == {"stem.0.conv": 3.0, "c2.0.squeeze.scale": 4.0}
    assert len(times) <= len(found)
    with pytest.raises(ValueError, match="`other`, which is no operation"):
        by_unit(found, {"other": 1.0})


@pytest.mark.slow
@pytest.mark.parametrize("engine", PROFILERS)
@pytest.mark.parametrize("name", ["mnv3_small", "mobilevit_xxs"])
def test_every_layer_with_work_takes_time(engine: str, name: str, tmp_path: Path) -> None:
    network = open_network(name, seed=0, overrides=["input.size=64"]).rewritten(["inference"])
    store(network, tmp_path / "network")
    job = job_of(tmp_path / "network", engine, "f32", threads=1, batch=1)
    if job.file:
        write_file(job)
    seconds = profile(job, images(network.graph, 1), 3)
    timed = by_unit(units(network.graph), seconds)
    silent = [unit.name for unit, time in timed if unit.kind.startswith(("conv", "linear", "attention")) and not time]
    # OpenVINO counts in microseconds, and the smallest layers take less.
    assert len(silent) <= (len(timed) // 4 if engine == "openvino" else 0), silent


@pytest.mark.slow
def test_a_measured_table_prices_its_own_network(tmp_path: Path) -> None:
    table = measure({"tiny": tiny()}, Setting("onnxruntime", rounds=2))
    assert table.conditions.runtime == "onnxruntime"
    (network,) = table.networks
    assert sum(ms for _, ms in network.units) == pytest.approx(network.ms)
    price = table.price(tiny().graph)
    assert price.ms == pytest.approx(network.ms)
    assert price.measured == len(price.units) == len(network.units)
    path = tmp_path / "table.json"
    path.write_text(table.to_json())
    report = archc.report(tiny().graph, latency=path)
    assert report.latency is not None
    assert report.to_dict()["latency"]["ms"] == pytest.approx(network.ms)
