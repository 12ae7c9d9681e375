"""Peak activation memory on networks small enough to follow by hand; sizes are in elements of four bytes."""

from __future__ import annotations

from typing import Any

import pytest

import archc

IMAGE = 3 * 8 * 8


def peak(**stages: list[dict[str, Any]]) -> int:
    spec = {"name": "net", "input": {"size": 8}, "norm": {"kind": "batch"}, "stages": stages}
    return archc.report(archc.load(spec)).peak_activation_bytes // 4


def test_a_chain_holds_one_input_and_one_output() -> None:
    # 3·64 in, 16·64 out; norm and activation write over the output; then 16·64 in, 4·16 out.
    rows = [{"block": "conv", "out": 16}, {"block": "conv", "out": 4, "stride": 2}]
    assert peak(c=rows) == IMAGE + 16 * 64


def test_the_peak_can_come_late() -> None:
    rows = [{"block": "conv", "out": 2}, {"block": "conv", "out": 30}, {"block": "conv", "out": 20}]
    assert peak(c=rows) == (30 + 20) * 64


def test_a_residual_is_kept_while_its_branch_runs() -> None:
    # In: 8 channels. Expanded: 16. The depthwise convolution needs both its 16s while the 8 wait for the sum.
    rows = [{"block": "conv", "out": 8}, {"block": "inverted_residual", "expand": 16, "out": 8}]
    assert peak(c=rows) == (8 + 16 + 16) * 64
    # Without the residual nothing waits.
    rows[1]["residual"] = False
    assert peak(c=rows) == (16 + 16) * 64


def test_a_gate_keeps_what_it_multiplies() -> None:
    # While the first squeeze runs, its vector of 16 stands beside the 16 maps that wait to be multiplied.
    rows = [{"block": "inverted_residual", "expand": 16, "out": 1, "se": 0.5, "residual": False}]
    assert peak(c=rows) == max((16 + 16) * 64, 16 * 64 + 16 + 8, (16 + 1) * 64)


def test_outputs_stay() -> None:
    spec = archc.load(
        {
            "name": "net",
            "input": {"size": 8},
            "stages": {"a": [{"block": "conv", "out": 10}], "b": [{"block": "conv", "out": 20, "stride": 2}]},
            "outputs": ["a", "b"],
        }
    )
    assert archc.report(spec).peak_activation_bytes == 4 * max(IMAGE + 640, 640 + 20 * 16)


@pytest.mark.parametrize("name", ["mnv3_small", "resnet50", "mobilevit_xxs"])
def test_no_operation_fits_into_less(name: str) -> None:
    graph = archc.lower(archc.load(name))
    shapes = graph.shapes()

    def elements(value: str) -> int:
        total = 1
        for size in shapes[value]:
            total *= size
        return total

    need = max(sum(map(elements, set(node.inputs))) + elements(node.name) for node in graph.nodes if not node.op.fused)
    assert archc.report(graph).peak_activation_bytes >= 4 * need
