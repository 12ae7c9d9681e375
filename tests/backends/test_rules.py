"""Every operation has every rule: its shape, its cost, its weights' start, reading and writing, and each backend's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import pytest
import torch
from torch import nn

from archc.backends import BACKENDS, Builder, get
from archc.backends import keras as in_keras
from archc.backends import torch as in_torch
from archc.ir import Op, ops
from archc.ir.initial import of_weight
from archc.ir.ops import KINDS, Cost, Shape, Weight
from archc.language.settings import Init
from tests.backends.operations import BUILDERS, RULES, SAMPLES, lacking, network

OURS = sorted(kind for kind, op in KINDS.items() if op.__module__.startswith("archc.") and op is not ops.Input)


def test_every_backend_that_builds_is_checked() -> None:
    assert set(BUILDERS) == {name for name in BACKENDS if isinstance(get(name), Builder)}


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("rule", RULES)
def test_every_operation_has_every_rule(kind: str, rule: str) -> None:
    assert kind in SAMPLES, f"no sample of `{kind}` to try its rules on"
    graph = network(SAMPLES[kind])
    assert type(next(node.op for node in graph.nodes if node.name == "a.0.op")) is KINDS[kind]
    assert RULES[rule](graph)


@dataclass(frozen=True)
class Mix(Op):
    """A scratch operation that owns a matrix over the channels. Its cost rule is missing: a matrix has MACs."""

    kind = "scratch_mix"
    out: int = 4

    def infer(self, *inputs: Shape) -> Shape:
        return ops.Image(self.out, *inputs[0][1:])

    def weights(self, *inputs: Shape, init: Init = ops.DEFAULT_INIT) -> tuple[Weight, ...]:
        shape = (self.out, inputs[0].channels)
        return (Weight("mixing", shape, True, of_weight(init.linear, shape)),)


@dataclass(frozen=True)
class PricedMix(Mix):
    """The same with a cost rule."""

    kind = "scratch_priced_mix"

    def macs(self, output: Shape, *inputs: Shape) -> int:
        return output[0] * output[1] * output[2] * inputs[0].channels


class Mixing(nn.Module):
    """Its layer in torch."""

    def __init__(self, out: int, channels: int, name: str, factory: dict[str, Any]) -> None:
        super().__init__()
        self.register_parameter(name, nn.Parameter(torch.empty(out, channels, **factory)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (matrix,) = self.parameters()
        return torch.einsum("oc,bchw->bohw", matrix, x)


class KerasMixing(keras.layers.Layer):
    """Its layer in Keras, which keeps the matrix the other way round."""

    def __init__(self, out: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.out = out

    def build(self, input_shape: Sequence[int]) -> None:
        self.matrix = self.add_weight(shape=(input_shape[-1], self.out), name="matrix")

    def call(self, x: Any) -> Any:
        return keras.ops.matmul(x, self.matrix)


@pytest.fixture(params=[Mix, PricedMix])
def op(request: pytest.FixtureRequest) -> Iterator[Mix]:
    yield request.param()
    for rules in (in_torch.RULES, in_keras.RULES):
        rules.pop(request.param, None)  # type: ignore[attr-defined]


def mixed(op: Mix) -> Any:
    return lambda net, x: net.add("op", op, x)


def test_an_operation_without_rules_lacks_all(op: Mix) -> None:
    assert lacking(mixed(op)) == set(RULES)


def test_a_layer_with_other_tensors_is_no_rule(op: Mix) -> None:
    """In torch the tensor has another name; in Keras nothing says where it is kept."""
    in_torch.RULES[type(op)] = lambda op, inputs, new: Mixing(op.out, inputs[0].channels, "matrix", new)
    in_keras.RULES[type(op)] = in_keras.Rule(lambda op, site: [KerasMixing(op.out, **site.own())])
    assert lacking(mixed(op)) == set(RULES)


def add_rules(op: Mix) -> None:
    def layout(op: Mix, inputs: Sequence[Shape]) -> dict[str, in_keras.Layout]:
        return {"mixing": in_keras.Layout("matrix", lambda value, weight: value.T, lambda value, weight: value.T)}

    in_torch.RULES[type(op)] = lambda op, inputs, new: Mixing(op.out, inputs[0].channels, "mixing", new)
    in_keras.RULES[type(op)] = in_keras.Rule(lambda op, site: [KerasMixing(op.out, **site.own())], layout)


def test_with_two_rules_it_lacks_nothing_but_its_cost(op: Mix) -> None:
    """Neither rule initialises, reads or writes: that follows from the weights that the operation states."""
    add_rules(op)
    assert lacking(mixed(op)) == (set() if isinstance(op, PricedMix) else {"cost"})
    assert network(mixed(op)).total == Cost(24, 0, op.macs(ops.Image(4, 8, 12), ops.Image(6, 8, 12)))


def test_a_rule_for_one_backend_leaves_the_other_without() -> None:
    op = PricedMix()
    add_rules(op)
    del in_keras.RULES[PricedMix]
    try:
        assert lacking(mixed(op)) == {"initialise", "read", "write", "keras"}
    finally:
        del in_torch.RULES[PricedMix]
