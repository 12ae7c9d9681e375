"""OpenVINO's files: what they compute beside torch, and that OpenVINO keeps quiet."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import archc
from archc.analysis.sizes import takes_any_size
from archc.backends import emitter
from archc.backends.protocol import Form
from archc.ir import Graph
from archc.ir.state import State
from archc.runtimes import RUNTIMES, open_file, runtime_of
from archc.runtimes.protocol import CannotRunError
from tests.backends.operations import IMAGE, SAMPLES, network
from tests.exporting.onnx_samples import CASES, numbers
from tests.exporting.test_onnx import CLOSE, PATCHED, images, small, worst
from tests.exporting.test_onnx_int8 import folded

QUICK = ("keras_mnv3_small",)


def emit(graph: Graph, state: State, folder: Path, form: Form) -> Path:
    emitter("openvino").emit(graph, state, folder / "net.xml", form)
    return folder / "net.xml"


@pytest.mark.parametrize(
    "case", [case if case in SAMPLES else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_every_operation(case: str, tmp_path: Path) -> None:
    graph = network(CASES[case])
    state = numbers(graph)
    any_size = takes_any_size(graph)
    file = emit(graph, state, tmp_path, Form(any_size=any_size))
    sizes = [IMAGE[1:]]
    if any_size:
        sizes += [(4, 9)] if case in PATCHED else [(9, 7), (13, 20)]
    for size in sizes:
        assert worst(file, graph, state, images(graph, 2, size), "openvino") < CLOSE


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in sorted(archc.specs())]
)
def test_bundled_specs(name: str, tmp_path: Path) -> None:
    """As they are exported: without norms."""
    graph, state = folded(name)
    file = emit(graph, state, tmp_path, Form(any_size=True))
    for batch, size in ((1, (64, 96)), (3, (97, 61))):
        assert worst(file, graph, state, images(graph, batch, size), "openvino") < CLOSE


def test_a_fixed_size(tmp_path: Path) -> None:
    graph, state = small("keras_mnv3_small")
    file = emit(graph, state, tmp_path, Form(batch=3))
    assert open_file(file).input == ("image", (3, 3, 64, 96), "float32")
    assert worst(file, graph, state, images(graph, 3, (64, 96)), "openvino") < CLOSE


def test_half_precision(tmp_path: Path) -> None:
    """The weights take half the room."""
    graph, state = small("mnv3_small")
    size = {}
    for precision in ("f32", "f16"):
        file = emit(graph, state, tmp_path, Form(precision))
        size[precision] = file.with_suffix(".bin").stat().st_size
    assert size["f16"] < 0.52 * size["f32"]
    assert 1e-6 < worst(file, graph, state, images(graph, 1, (64, 96)), "openvino") < 1e-2


def test_bfloat16_is_no_default(tmp_path: Path) -> None:
    assert RUNTIMES["openvino-bf16"].suffixes == ()
    assert runtime_of("net.xml") == "openvino"
    graph, state = small("mnv3_small")
    file = emit(graph, state, tmp_path, Form())
    x = images(graph, 1, (64, 96))
    exact = open_file(file).run(x)["head"]
    with suppress(CannotRunError):  # a processor without bfloat16 is told of, rather than computing in 32 bits
        rounded = open_file(file, "openvino-bf16").run(x)["head"]
        assert 0 < np.abs(exact - rounded).max() < 0.1 * np.abs(exact).max()


def test_metadata(tmp_path: Path) -> None:
    graph, state = small("mnv3_small")
    texts = {"archc_spec": "a: <b>\n  & 'c' \"d\"\n", "archc_classes": '["é", "2"]', "archc_version": "1.0"}
    assert open_file(emit(graph, state, tmp_path, Form(metadata=texts))).metadata == texts
    emitter("onnx").emit(graph, state, tmp_path / "net.onnx", Form(metadata=texts))
    assert open_file(tmp_path / "net.onnx", "openvino").metadata == texts


def test_the_same_network_gives_the_same_files(tmp_path: Path) -> None:
    graph, state = small("mobilevit_xxs")
    found = []
    for _ in range(2):
        file = emit(graph, state, tmp_path, Form(any_size=True))
        found.append((file.read_bytes(), file.with_suffix(".bin").read_bytes()))
    assert found[0] == found[1]


def test_export(tmp_path: Path) -> None:
    """Both files are put in place, and the check runs them before that."""
    graph, state = small("mnv3_small")
    exported = archc.export(graph, tmp_path / "net.xml", state=state)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.bin", "net.xml"]
    assert exported.checked is not None
    assert exported.checked.worst < CLOSE
    assert exported.size == sum(path.stat().st_size for path in tmp_path.iterdir())
    (tmp_path / "net.bin").unlink()
    with pytest.raises(ValueError, match=r"there is no `net\.bin` beside it"):
        open_file(tmp_path / "net.xml")


@pytest.mark.parametrize("content", ["", "nonsense", "<a/>", "<net name='x' version='11'><layers/></net>"])
def test_damaged_files(content: str, tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "net.xml").write_text(content)
    (tmp_path / "net.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"damaged|no network of OpenVINO's"):
        open_file(tmp_path / "net.xml")
    assert capfd.readouterr() == ("", "")


def test_weights_that_are_cut_off(tmp_path: Path) -> None:
    graph, state = small("mnv3_small")
    weights = emit(graph, state, tmp_path, Form()).with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="is damaged"):
        open_file(tmp_path / "net.xml")


def test_nothing_is_reported_to_anybody() -> None:
    """OpenVINO sends a message when it is imported, by a package of its own."""
    program = """
import sys
from archc.extras import require
require("openvino", "openvino")
assert "openvino.tools.ovc.telemetry_stub" in sys.modules
assert not any(name.startswith("openvino_telemetry") for name in sys.modules)
import openvino_telemetry
"""
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert (found.stdout, found.stderr) == ("", "")
