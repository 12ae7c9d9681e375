"""Values and weights in int8: which they are, their ranges, and the arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import archc
from archc.backends.torch import BACKEND
from archc.backends.torch.interpret import Interpreter
from archc.blocks.lower import lower
from archc.exporting.network import Network, open_network
from archc.ir.ops import Activation
from archc.ir.quantization import Quantization, Range, int8_operations
from archc.ir.state import Array
from archc.quantization.calibrate import calibrate, ready
from archc.quantization.observe import Observed
from archc.quantization.ranges import METHODS, ranges
from archc.quantization.rounding import best_scales, round_kernel, statistics
from archc.quantization.rows import outputs_in_int8, sensitivity, worst_first
from archc.quantization.simulate import Simulation, rounded
from archc.quantization.values import leaving, operations_of, planned

SMALL = ["width_mult=0.25", "input.size=64", "num_classes=10"]


def network(name: str = "mobilenet_v2") -> Network:
    return ready(open_network(archc.load(name, SMALL), seed=0))


def images(count: int = 4) -> Array:
    return np.random.default_rng(0).standard_normal((count, 3, 64, 64), dtype=np.float32)


@pytest.mark.parametrize("name", ["mnv3_small", "mobilevit_xxs", "lraspp_mnv3_large"])
def test_operation_by_operation_is_the_module(name: str) -> None:
    graph = lower(archc.load(name, ["input.size=64"]))
    module = BACKEND.build(graph, seed=0).eval()
    given = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = module(given)
    found = Interpreter(graph, BACKEND.read(module)).run(given)
    named = {next(iter(found)): expected} if graph.single else expected
    for key, value in named.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5)


def test_rounding_is_numpys() -> None:
    value = torch.linspace(-3, 9, 1000)
    scale, zero_point = Range(-1.0, 6.0).scale
    integers = np.clip(np.rint(value.numpy() / np.float32(scale)) + zero_point, -128, 127)
    expected = (integers - zero_point) * scale
    found = rounded(value, Range(-1.0, 6.0)).numpy()
    assert (np.abs(found - expected) < 1e-6).mean() > 0.99  # a tie may go either way
    assert np.abs(found - expected).max() < 1.01 * scale
    assert rounded(torch.zeros(1), Range(-1.0, 6.0)).item() == 0


def test_layers_and_their_relu6_compute_as_one() -> None:
    net = network()
    held, floats = planned(net.graph)
    quantization = Quantization(dict.fromkeys(held, Range(-1, 1)), {}, floats)
    for found in int8_operations(net.graph, quantization).values():
        if found.activation is not None:
            assert isinstance(found.activation.op, Activation)
            assert found.node.name not in held
    assert floats == frozenset()
    assert sum(f.activation is not None for f in int8_operations(net.graph, quantization).values()) == 35


def test_norms_and_attention_stay_in_float() -> None:
    graph = ready(open_network(archc.load("mobilevit_xxs", ["input.size=64"]), seed=0)).graph
    kinds = {node.name: node.op.kind for node in graph.nodes}
    assert {kinds[name] for name in planned(graph)[1]} >= {"layer_norm", "attention"}


def test_a_row_in_float_leaves_its_neighbours_in_int8() -> None:
    net = network()
    held, floats = planned(net.graph)
    whole = Quantization(dict.fromkeys(held, Range(-1, 1)), {}, floats)
    row = operations_of(net.graph, ["c3.0"])
    left = leaving(net.graph, whole, row)
    assert set(int8_operations(net.graph, whole)) - set(int8_operations(net.graph, left)) == row & set(
        int8_operations(net.graph, whole)
    )


@pytest.mark.parametrize("method", METHODS)
def test_ranges_lie_inside_what_was_seen(method: str) -> None:
    numbers = np.random.default_rng(0).standard_normal(1_000_000)
    numbers[0] = 15.0
    counts, _ = np.histogram(numbers, 2048, (numbers.min(), 15))
    seen = {"x": Observed(float(numbers.min()), 15.0, counts.astype(float), np.array([15.0]))}
    graph = network().graph
    (found,) = ranges(graph, seen, method).values()  # type: ignore[arg-type]
    assert numbers.min() <= found.low < -2
    assert found.high == 15 if method == "minmax" else found.high < 10
    if method == "mse":
        errors = {
            high: float(((rounded(torch.tensor(numbers), Range(found.low, high)).numpy() - numbers) ** 2).mean())
            for high in (found.high / 1.5, found.high, found.high * 1.5, 15.0)
        }
        assert min(errors, key=errors.__getitem__) == found.high


def test_the_input_is_held_by_the_range_of_pixels() -> None:
    net = network()
    calibrated = calibrate(net, images(), corrects=False)
    found = calibrated.quantization.values[net.graph.input.name]
    given = net.graph.preprocessing
    assert given is not None
    mean, std = np.asarray(given.mean), np.asarray(given.std)
    assert found.low == pytest.approx(((0 - mean) / std).min())
    assert found.high == pytest.approx(((1 - mean) / std).max())


def test_mirror_images_are_used_too() -> None:
    net, given = network(), images()
    found = calibrate(net, given, corrects=False)
    both = np.concatenate([given, given[:, :, :, ::-1]])
    assert found.images == 4
    assert found.quantization == calibrate(net, both, corrects=False, mirrors=False).quantization
    assert found.quantization != calibrate(net, given, corrects=False, mirrors=False).quantization


@pytest.mark.parametrize("method", METHODS)
def test_results_are_never_cut(method: str) -> None:
    net, given = network(), images()
    found = calibrate(net, given, method=method, corrects=False, mirrors=False)  # type: ignore[arg-type]
    (name,) = net.graph.outputs.values()
    (exact,) = Interpreter(net.graph, net.state).run(torch.from_numpy(given)).values()
    range = found.quantization.values[name]
    assert (range.low, range.high) == pytest.approx((float(exact.min()), float(exact.max())), rel=1e-4)


def test_rounding_by_inputs_loses_less_than_to_the_nearest() -> None:
    random = torch.Generator().manual_seed(0)
    mixing = torch.randn(25, 25, generator=random)
    inputs = torch.randn(3, 4000, 25, generator=random) @ mixing
    kernel = torch.randn(3, 8, 25, generator=random, dtype=torch.float64)
    found = statistics(inputs)
    scales = best_scales(kernel, found) * 8  # 5 bits, to make it plain
    nearest = (kernel / scales[..., None]).round() * scales[..., None]
    better = round_kernel(kernel, scales, found)
    torch.testing.assert_close(better / scales[..., None], (better / scales[..., None]).round())

    def lost(rounded: torch.Tensor) -> float:
        return float(((inputs.double() @ (rounded - kernel).transpose(1, 2)) ** 2).mean())

    assert lost(better) < 0.6 * lost(nearest)


def test_correction_makes_up_for_the_means() -> None:
    net, given = network(), images(8)
    plain, corrected = (calibrate(net, given, corrects=corrects, mirrors=False) for corrects in (False, True))
    exact = Interpreter(net.graph, net.state).run(torch.from_numpy(given))
    key = next(iter(exact))

    def off(state: dict[str, Array], quantization: Quantization) -> float:
        found = outputs_in_int8(net.graph, state, quantization, given)[key]
        return float(np.abs(found.mean(0) - exact[key].numpy().mean(0)).mean())

    assert off(dict(corrected.state), corrected.quantization) < 0.5 * off(dict(plain.state), plain.quantization)


def test_a_row_alone_in_int8() -> None:
    net, given = network(), images()
    quantization = calibrate(net, given, corrects=False, mirrors=False).quantization
    before = sensitivity(net.graph, net.state, quantization, given, ["a", "b", "c", "d"])
    # One row gets ranges that cut nearly everything.
    spoiled = {
        name: Range(0, 0.01) if name.startswith("c4.1.") and name.endswith("act") else range
        for name, range in quantization.values.items()
    }
    quantization = Quantization(spoiled, quantization.weights, quantization.floats)
    alone = sensitivity(net.graph, net.state, quantization, given, ["a", "b", "c", "d"])
    assert set(alone) == {region.name for region in net.graph.regions if region.subgraph.nodes}
    assert {name for name in alone if alone[name].mean_cosine != before[name].mean_cosine} == {"c4.1"}
    assert alone["c4.1"].mean_cosine < before["c4.1"].mean_cosine
    assert set(worst_first(alone)) == set(alone)


def test_one_step_by_hand() -> None:
    """A convolution in integers, as a runtime computes it, is what the simulation computes."""
    net, given = network(), images(2)
    quantization = calibrate(net, given, corrects=False).quantization
    seen: dict[str, Array] = {}
    simulation = Simulation(net.graph, net.state, quantization)
    simulation.run(
        torch.from_numpy(given), lambda node, value: seen.setdefault(node.name, value.numpy()) is None or value
    )
    node = next(node for node in net.graph.nodes if node.name.endswith("project.conv"))
    source, target = (quantization.values[name].scale for name in (node.inputs[0], node.name))
    scales = np.array(quantization.weights[f"{node.name}.weight"])
    kernel = np.rint(net.state[f"{node.name}.weight"][:, :, 0, 0] / scales[:, None])
    bias = np.rint(net.state[f"{node.name}.bias"] / (scales * source.scale))
    integers = np.rint(seen[node.inputs[0]] / source.scale)
    sums = np.einsum("oi,nihw->nohw", kernel, integers) + bias[None, :, None, None]
    result = sums * (scales * source.scale / target.scale)[None, :, None, None]
    expected = np.clip(np.rint(result) + target.zero_point, -128, 127)
    found = np.rint(seen[node.name] / target.scale) + target.zero_point
    assert np.abs(found - expected).max() <= 1
    assert (found == expected).mean() > 0.999
