"""For random valid specs: what archc says without torch is what torch finds in the module."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from hypothesis import HealthCheck, assume, given, settings
from torch.utils.flop_counter import FlopCounterMode

import archc
from archc.backends.torch.emit import module_path
from archc.ir.graph import Graph

from .random_specs import specs


def lowered(spec: dict[str, Any]) -> Graph:
    """The graph, if the random rows fit each other: groups must divide, strides must be able to dilate."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", archc.SpecWarning)
            return archc.lower(archc.load(spec))
    except archc.SpecError as error:
        assume({d.id for d in error.diagnostics} - {"shape", "cannot-dilate"} != set())
        raise


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=specs())
def test_static_numbers_are_the_modules(spec: dict[str, Any]) -> None:
    graph = lowered(spec)
    report = archc.report(graph)
    module = archc.build(graph, device="meta").eval()
    assert report.params == sum(p.numel() for p in module.parameters())
    persistent = {n: b for n, b in module.named_buffers() if not n.endswith("num_batches_tracked")}
    assert graph.total.buffers == sum(b.numel() for b in persistent.values())

    shapes: dict[str, tuple[int, ...]] = {}
    for node in graph.nodes[1:]:
        try:
            layer = module.get_submodule(module_path(node.name))
        except AttributeError:
            continue  # a sum or a concatenation is written out in its scope's forward
        layer.register_forward_hook(
            lambda layer, inputs, output, name=node.name: shapes.__setitem__(name, tuple(output.shape))
        )
    image = graph.input.shape
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        outputs = module(torch.empty(1, *image, device="meta"))
    assert counter.get_total_flops() == 2 * report.macs
    static = graph.shapes()
    assert shapes
    for name, shape in shapes.items():
        # Tokens carry their positions in the batch; everything else has a batch of one in front.
        expected = static[name] if shape[0] != 1 or len(static[name]) == len(shape) else (1, *static[name])
        assert shape == tuple(expected), name
    outputs = outputs if isinstance(outputs, dict) else {next(iter(graph.outputs)): outputs}
    assert {key: tuple(value.shape[1:]) for key, value in outputs.items()} == {
        key: tuple(static[name]) for key, name in graph.outputs.items()
    }


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=specs())
def test_built_modules_compute_and_train(spec: dict[str, Any]) -> None:
    graph = lowered(spec)
    module = archc.build(graph, seed=0)
    outputs = module(torch.randn(2, *graph.input.shape))
    values = outputs.values() if isinstance(outputs, dict) else [outputs]
    sum(value.square().mean() for value in values).backward()
    assert all(torch.isfinite(value).all() for value in values)
