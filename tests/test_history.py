"""A result depends on its inputs alone: not on what was compiled before, not on the order, not on the process."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import archc
from archc.document.values import FrozenDict

ORDERS = 7


def specs() -> list[dict[str, Any]]:
    """Small networks whose feature maps, tokens and vectors have the same numbers in them again and again."""
    chosen = random.Random(0)
    found: list[dict[str, Any]] = []
    for number in range(60):
        size = chosen.choice([32, 64, [64, 32], [32, 64]])
        rows: list[dict[str, Any]] = []
        for _ in range(chosen.randint(0, 2)):
            if chosen.random() < 0.6:
                rows.append({
                    "block": "mobilevit", "dim": chosen.choice([16, 32]), "depth": 1, "heads": 2, "ffn": "2x",
                    "patch": chosen.choice([1, 2, 4]),
                })  # fmt: skip
            else:
                rows.append({"block": "conv", "kernel": chosen.choice([1, 3]), "out": chosen.choice([4, 16, 32])})
        pool = [{"block": "pool"}] if chosen.random() < 0.7 else []
        head = [*pool, {"block": "linear", "out": chosen.choice([10, 16])}]
        stem = [{"block": "conv", "out": chosen.choice([4, 16, 32]), "stride": chosen.choice([1, 2])}]
        stages = {"stem": stem, **({"body": rows} if rows else {}), "head": head}
        found.append({"name": f"n{number}", "input": {"size": size}, "act": "silu", "stages": stages})
    return found


def priced(spec: dict[str, Any]) -> object:
    """What a spec costs, operation by operation, or its errors."""
    try:
        report = archc.report(spec)
        return [report.params, report.macs, report.graph.total, [layer.to_dict() for layer in report.layers]]
    except archc.SpecError as error:
        return str(error)


def alone(spec: dict[str, Any]) -> object:
    """The same, in a process that has compiled nothing before."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            answer = json.loads(file.read())
        os.waitpid(child, 0)
        return answer
    with os.fdopen(writing, "wb") as file:
        file.write(json.dumps(priced(spec)).encode())
    os._exit(0)


def compare() -> None:
    """Hold what each spec gives alone against what it gives after others, in several orders; print how many were
    compared."""
    assert callable(archc.report)  # imports everything before the forks, and compiles nothing
    all_specs = specs()
    expected = [alone(spec) for spec in all_specs]
    assert sum(isinstance(value, list) for value in expected) > 40
    compared = 0
    for seed in range(ORDERS):
        order = list(range(len(all_specs)))
        random.Random(seed).shuffle(order)
        for number in order:
            found = json.loads(json.dumps(priced(all_specs[number])))
            assert found == expected[number], f"{all_specs[number]}\n{found}\n{expected[number]}"
            compared += 1
    print(compared)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each spec is priced in a fork of a fresh process")
@pytest.mark.parametrize("seed", ["0", "1"])
def test_a_price_does_not_depend_on_what_was_priced_before(seed: str) -> None:
    program = "from tests.test_history import compare; compare()"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == str(60 * ORDERS)


def plain() -> dict[str, Any]:
    stages = {
        "stem": [{"block": "conv", "out": 16, "stride": 2}],
        "h": [{"block": "pool"}, {"block": "linear", "out": 10}],
    }
    return {"name": "a", "input": {"size": 64}, "act": "silu", "stages": stages}


def with_tokens() -> dict[str, Any]:
    vit = {"block": "mobilevit", "dim": 16, "depth": 1, "ffn": "2x", "patch": 4, "heads": 2}
    stages = {"stem": plain()["stages"]["stem"], "vit": [vit], "h": plain()["stages"]["h"]}
    return {**plain(), "input": {"size": [64, 32]}, "stages": stages}


@pytest.mark.parametrize("order", [(plain, with_tokens), (with_tokens, plain)])
def test_tokens_after_a_feature_map_of_the_same_numbers(order: tuple[Any, Any]) -> None:
    found = {make.__name__: archc.report(make()) for make in order}
    assert (found["with_tokens"].params, found["with_tokens"].macs) == (10_410, 5_595_296)
    assert found["plain"].params == 16 * 27 + 32 + 170


def test_a_linear_layer_after_tokens_is_not_one_after_a_map() -> None:
    """The stage after tokens of equal size was once reported and built with 90 parameters instead of 10,250."""
    archc.report(
        {"name": "a", "input": {"size": 32}, "stages": {"s": [{"block": "conv", "out": 16}], "h": [{"block": "pool"}]}}
    )
    flat = {
        "name": "b",
        "input": {"size": 32, "channels": 1, "mean": 0.5, "std": 0.5},
        "stages": {"h": [{"block": "linear", "out": 10, "flatten": True}]},
    }
    assert archc.report(flat).params == 10_250


def test_a_lowering_that_is_replaced_counts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place, as a notebook's autoreload does it."""
    from archc.blocks.conv import Conv
    from archc.blocks.simple import Pool

    spec = archc.load("mnv3_small")
    before = archc.report(spec).params
    original = Conv.lower
    with monkeypatch.context() as patch:
        patch.setattr(Conv, "lower", lambda self, net, *x: original(self.replace(bias=True), net, *x))
        assert archc.report(spec).params == before + 16 + 576
    assert archc.report(spec).params == before
    code = Conv.lower.__code__
    try:
        Conv.lower.__code__ = Pool.lower.__code__.replace(co_freevars=code.co_freevars)
        with pytest.raises(Exception):  # noqa: B017, PT011 (whatever the other block's code makes of a convolution)
            archc.report(spec)
    finally:
        Conv.lower.__code__ = code
    assert archc.report(spec).params == before


def test_a_users_block_is_lowered_anew_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it calls may change under it, and archc cannot see that."""
    from archc.ir import ops

    width = [8]

    class Changing(archc.Block):
        """A block whose lowering changes from one call to the next."""

        def lower(self, net: archc.Net, *inputs: Any) -> Any:
            return net.add("conv", ops.Conv(width[0]), inputs[0])

    monkeypatch.setattr(archc.REGISTRY, "_blocks", dict(archc.REGISTRY._blocks))  # other tests list all blocks
    archc.REGISTRY.register("changing", Changing)
    spec = archc.load({"name": "n", "input": {"size": 8}, "stages": {"s": [{"block": "changing"}]}})
    assert archc.report(spec).params == 24
    width[0] = 16
    assert archc.report(spec).params == 48


def test_an_order_of_stages_is_part_of_a_spec() -> None:
    one, other = FrozenDict({"a": 1, "b": 2}), FrozenDict({"b": 2, "a": 1})
    assert one != other
    assert one == FrozenDict({"a": 1, "b": 2})
    assert hash(one) == hash(FrozenDict({"a": 1, "b": 2}))
    assert one == {"b": 2, "a": 1}
