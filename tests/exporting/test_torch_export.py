"""`.pt2` files: what `torch.export` wrote, run beside the module that it wrote down."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import archc
from archc.backends import emitter
from archc.backends.protocol import Form, raw
from archc.ir import Graph, ops
from archc.ir.state import Array, State
from archc.runtimes import open_file
from archc.transforms import apply
from tests.backends.operations import SAMPLES
from tests.backends.operations import network as sample
from tests.exporting.compared import CLOSE, in_torch, worst
from tests.transforms.networks import initial

SMALL = ["width_mult=0.25", "input.size=64", "num_classes=10"]


def graph_of(name: str, *overrides: str) -> Graph:
    return raw(archc.lower(archc.load(name, [*SMALL, *overrides])))


def images(batch: int, *size: int) -> Array:
    return np.random.default_rng(batch).standard_normal((batch, *size), dtype=np.float32)


def export(graph: Graph, state: State, folder: Path, **settings: Any) -> Path:
    file = folder / "net.pt2"
    archc.export(graph, file, state=state, check=False, **settings)
    return file


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_every_operation(kind: str, tmp_path: Path) -> None:
    graph, file = sample(SAMPLES[kind]), tmp_path / "net.pt2"
    state = initial(graph)
    emitter("torch").emit(graph, state, file, Form())
    session = open_file(file)
    for batch in (1, 3):
        assert worst(session.run(x := images(batch, 6, 8, 12)), in_torch(graph, state, x)) < CLOSE


def test_one_file_for_every_batch_and_size(tmp_path: Path) -> None:
    graph = graph_of("mnv3_small")
    state = initial(graph)
    session = open_file(export(graph, state, tmp_path))
    assert session.input == ("image", (None, 3, None, None), "float32")
    assert session.outputs == ("head",)
    for batch, *size in ((1, 64, 64), (3, 65, 97), (2, 96, 161)):
        assert worst(session.run(x := images(batch, 3, *size)), in_torch(graph, state, x)) < CLOSE
    with pytest.raises(ValueError, match="the file cannot take images of 1×3×16×64: Guard failed"):
        session.run(images(1, 3, 16, 64))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilevit_xxs", "lraspp_mnv3_large", "efficientnet_lite0"])
def test_networks(name: str, tmp_path: Path) -> None:
    graph = graph_of(name)
    state = initial(graph)
    session = open_file(export(graph, state, tmp_path))
    for batch in (1, 3):
        assert worst(session.run(x := images(batch, 3, 64, 64)), in_torch(graph, state, x)) < CLOSE


def test_where_the_size_cannot_be_left_open(tmp_path: Path) -> None:
    library = emitter("torch")
    assert library.any_size(graph_of("mnv3_small"))
    assert library.any_size(graph_of("lraspp_mnv3_large"))
    assert not library.any_size(graph_of("mobilevit_xxs")), "patches are written down for one size"
    assert not library.any_size(graph_of("efficientnet_lite0")), "TensorFlow's padding takes minutes to write down"
    assert not library.any_size(sample(SAMPLES["linear"])), "so many pixels have so many weights"
    with pytest.raises(archc.SpecError, match="takes images of one size only") as caught:
        archc.export(graph_of("mobilevit_xxs"), tmp_path / "net.pt2", seed=0, any_size=True)
    assert caught.value.diagnostics[0].id == "unsupported-form"


def test_a_batch_that_is_stated_and_pixels_in_float16(tmp_path: Path) -> None:
    graph = graph_of("mobilevit_xxs")
    file = export(graph, initial(graph), tmp_path, batch=2, preprocess=True, precision="f16")
    session = open_file(file)
    assert session.input == ("image", (2, 3, 64, 64), "uint8")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8)
    final, state = apply(graph, initial(graph), ["inference", "preprocess"])
    assert state is not None
    assert 0 < worst(session.run(pixels), in_torch(final, state, pixels)) < 0.02
    with pytest.raises(ValueError, match="takes uint8 images of 2×3×64×64"):
        session.run(pixels[:1])


def test_metadata_and_threads(tmp_path: Path) -> None:
    graph = sample(SAMPLES["conv"])
    file = tmp_path / "net.pt2"
    emitter("torch").emit(graph, initial(graph), file, Form(batch=1, metadata={"archc_version": "9", "text": "é×"}))
    before = torch.get_num_threads()
    session = open_file(file, threads=1)
    assert dict(session.metadata) == {"archc_version": "9", "text": "é×"}
    session.run(images(1, 6, 8, 12))
    assert torch.get_num_threads() == before


@dataclass(frozen=True)
class Strange(ops.Op):
    """An operation that no backend has a rule for."""

    kind = "scratch_strange"


def test_what_a_file_cannot_be(tmp_path: Path) -> None:
    graph, library, file = sample(SAMPLES["conv"]), emitter("torch"), tmp_path / "net.pt2"
    with pytest.raises(archc.SpecError, match="returns a detector's raw predictions, and no boxes"):
        library.emit(graph, initial(graph), file, Form(boxes=True))
    with pytest.raises(archc.SpecError, match="torch files cannot have the precision `int8`"):
        archc.export(graph, file, seed=0, precision="int8")
    with pytest.raises(ValueError, match="does not fit"):
        library.emit(graph, {}, file)
    with pytest.raises(archc.SpecError) as caught:
        archc.export(sample(lambda net, x: net.add("op", Strange(), x)), file, state={})
    assert caught.value.diagnostics[0].message == "the torch backend has no `scratch_strange`, which row `a.0` needs"
    assert not file.exists()


def test_files_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "bad.pt2"
    file.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"bad\.pt2` is no `\.pt2` file"):
        open_file(file)
    torch.save({"weight": torch.zeros(2)}, file)
    with pytest.raises(ValueError, match=r"bad\.pt2` is damaged, or no file that this torch runs"):
        open_file(file)


def test_a_file_of_another_programs(tmp_path: Path) -> None:
    class Theirs(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x + 1, x.mean((2, 3))

    file = tmp_path / "theirs.pt2"
    torch.export.save(torch.export.export(Theirs(), (torch.zeros(2, 3, 4, 5),)), file)
    session = open_file(file)
    assert session.input == ("x", (2, 3, 4, 5), "float32")
    x = images(2, 3, 4, 5)
    found = session.run(x)
    assert list(found) == ["output0", "output1"]
    assert np.array_equal(found["output0"], x + 1)


@pytest.mark.slow
def test_nothing_is_said(tmp_path: Path) -> None:
    program = f"""
import archc
archc.export("mnv3_small", {str(tmp_path / "net.pt2")!r}, seed=0, overrides={SMALL!r}, batch=1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
