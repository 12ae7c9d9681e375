"""A spec's Keras model against its torch module, on the Keras backend of this process.

`python -m tests.backends.keras.peer CASE...` prints one JSON object per case, for tests that need another backend: a
spec, or `step:SPEC` for a step of training.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

import archc
from archc.backends import of
from archc.backends.protocol import raw
from archc.ir.graph import Graph
from tests.backends.torch.peers import shake

ODD = (77, 98)
"""A size that no stride and no patch divides."""


def pair(graph: Graph) -> tuple[nn.Module, Any]:
    """Both plain networks with the same weights, normalisation shaken."""
    module = shake(archc.build(raw(graph), seed=0)).eval()
    model = archc.build(graph, seed=1, backend="keras")
    carry(module, model)
    return module, model


def carry(source: Any, target: Any) -> None:
    """Write all weights of one network into another."""
    giver, taker = of(source), of(target)
    assert giver is not None
    assert taker is not None
    taker.write(target, giver.read(source))


def errors(module: nn.Module, model: Any, size: Sequence[int], batch: int = 2) -> dict[str, float]:
    """By output, the largest difference as a share of the largest value."""
    channels = model.input_shape[-1]
    image = np.random.default_rng(2).standard_normal((batch, *size, channels)).astype("float32")
    with torch.inference_mode():
        expected: Any = module(torch.from_numpy(image).permute(0, 3, 1, 2))
    actual: Any = model.predict_on_batch(image)
    if not isinstance(expected, dict):
        expected, actual = {"": expected}, {"": actual}
    assert set(actual) == set(expected)
    found = {}
    for name, value in expected.items():
        theirs = canonical(actual[name], value)
        assert theirs.shape == value.shape
        assert torch.isfinite(value).all()
        found[name] = float((theirs - value).abs().max() / value.abs().max().clamp(min=1e-6))
    return found


def canonical(value: Any, like: torch.Tensor) -> torch.Tensor:
    """An output of Keras's as torch has it: channels first, tokens' positions in the batch."""
    array = torch.from_numpy(np.array(value))
    if array.ndim == 4 and like.ndim == 3:
        return array.reshape(like.shape)
    return array.permute(0, 3, 1, 2) if array.ndim == 4 else array


def counts(variables: Sequence[Any]) -> int:
    """How many numbers they hold."""
    return sum(int(np.prod(variable.shape)) for variable in variables)


def step(graph: Graph) -> dict[str, float]:
    """One step of SGD on one batch in both: the losses, and the largest differences of what changed, by kind."""
    import keras

    module, model = pair(graph)
    module.train()
    rng = np.random.default_rng(3)
    image = rng.standard_normal((4, *graph.input.shape[1:], 3)).astype("float32")
    labels = rng.integers(0, 1000, 4)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.05)
    loss = nn.functional.cross_entropy(module(torch.from_numpy(image).permute(0, 3, 1, 2)), torch.from_numpy(labels))
    loss.backward()
    optimiser.step()
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), crossentropy)
    theirs = float(model.train_on_batch(image, labels))
    back = archc.build(graph, device="meta")
    carry(model, back)
    found = {"loss": abs(float(loss.detach()) - theirs) / abs(theirs)}
    after = back.state_dict()
    for name, value in module.state_dict().items():
        kind = name.rpartition(".")[2]
        if kind != "num_batches_tracked":
            error = float((value - after[name]).abs().max() / value.abs().max().clamp(min=1e-3))
            found[kind] = max(found.get(kind, 0.0), error)
    return found


def training(name: str) -> Graph:
    """A spec without anything that is drawn at random while training, at a size that is quick."""
    off = {"mobilevit": ["~stages.c3.1.dropout", "~stages.c4.1.dropout", "~stages.c5.1.dropout"]}
    overrides = ["dropout=0", "drop_path=0", "input.size=64", *off.get(name.partition("_")[0], [])]
    return archc.lower(archc.load(name, overrides))


def compare(name: str) -> dict[str, Any]:
    """Everything that has to agree, of a bundled spec, at its own size and at an odd one."""
    graph = raw(archc.lower(archc.load(name)))
    module, model = pair(graph)
    parameters = sum(p.numel() for p in module.parameters())
    buffers = sum(b.numel() for n, b in module.named_buffers() if not n.endswith("num_batches_tracked"))
    return {
        "spec": name,
        "errors": errors(module, model, graph.input.shape[1:], batch=1),
        "odd": errors(module, model, ODD, batch=1),
        "trainable": [counts(model.trainable_weights), parameters, graph.total.params],
        "other": [counts(model.non_trainable_weights), buffers, graph.total.buffers],
    }


if __name__ == "__main__":
    for spec in sys.argv[1:]:
        kind, _, name = spec.rpartition(":")
        result = {"step": step(training(name))} if kind == "step" else compare(name)
        print(json.dumps({"case": spec, **result}), flush=True)
