"""Which predictions stay in int8: archc's files in every runtime beside each library's own quantiser.

    python -m tests.benchmarks.quantization [--network lite0|mobilenet_v2] [--calibrate imagenet|photographs|both]
                                            [--peers onnxruntime,nncf,litert] [--method minmax]

The networks have their real weights. The pictures are scikit-image's and scikit-learn's 19 photographs, and foolbox's
20 from ImageNet. Each library calibrates on the same prepared images as archc; `imagenet` are foolbox's pictures, so
that the photographs are never seen in calibration, and the other way round.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import archc
from archc.backends import builder
from archc.exporting.network import open_network
from archc.prediction.inputs import prepared
from archc.quantization.agreement import compare
from archc.quantization.calibrate import ready
from archc.runtimes import open_file
from tests.quantization import samples

NETWORKS: dict[str, tuple[str, Callable[[], Path]]] = {
    "lite0": ("efficientnet_lite0", samples.lite0),
    "mobilenet_v2": ("mobilenet_v2", samples.mobilenet_v2),
}
TARGETS = {"onnx": ".onnx", "openvino": ".xml", "litert": ".tflite", "executorch": ".pte"}


def main() -> None:
    """Print the table of one network."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", choices=NETWORKS, default="lite0")
    parser.add_argument("--calibrate", choices=["imagenet", "photographs", "both"], default="imagenet")
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--method", default=None)
    asked = parser.parse_args()
    spec, weights = NETWORKS[asked.network]
    network = ready(open_network(spec, weights=weights()))
    graph = network.graph
    sets = {"photographs": samples.photographs(), "imagenet": samples.imagenet()}
    inputs = {name: prepared(graph, images) for name, images in sets.items()}
    module = builder("torch").build(graph, state=network.state).eval()
    exact = {name: _torch(module, images) for name, images in inputs.items()}
    key = next(iter(graph.outputs))
    seen = list(sets) if asked.calibrate == "both" else [asked.calibrate]
    print(f"{spec}, calibrated on {' and '.join(seen)}: top-1 as in float, and the least cosine")

    def show(name: str, run: Callable[[Any], Any], seconds: float) -> None:
        cells = []
        for which, images in inputs.items():
            found = compare(graph, {key: exact[which]}, {key: run(images)}, [str(n) for n in range(len(images))])
            cells.append(f"{which} {found.same:2.0f}/{found.images} ({found.cosine:.3f}, shift {found.shift:.3f})")
        print(f"{name:24} {'   '.join(cells)}   {seconds:.0f} s", flush=True)

    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        place = Path(directory)
        given = [image for name in seen for image in sets[name]]
        start = time.perf_counter()
        ranges = place / "ranges.json"
        options = {} if asked.method is None else {"method": asked.method}
        quantized = archc.quantize(spec, given, weights=weights(), **options)
        quantized.save_ranges(ranges)
        print(f"archc, ranges and weights: {time.perf_counter() - start:.0f} s")
        for target in filter(None, asked.targets.split(",")):
            start = time.perf_counter()
            file = place / f"archc{TARGETS[target]}"
            try:
                archc.quantize(spec, weights=weights(), ranges=ranges, path=file)
                session = open_file(file)
                show(f"archc {target}", lambda x, s=session: _session(s, key, x), time.perf_counter() - start)
            except Exception as error:
                print(f"archc {target}: {type(error).__name__}: {error}", flush=True)
        calibration = np.concatenate([inputs[name] for name in seen])
        float_file = place / "float.onnx"
        archc.export(graph, float_file, state=network.state, check=False)
        for peer in filter(None, asked.peers.split(",")):
            start = time.perf_counter()
            try:
                show(peer, PEERS[peer](float_file, module, calibration, place), time.perf_counter() - start)
            except Exception as error:
                print(f"{peer}: {type(error).__name__}: {error}", flush=True)


def _torch(module: Any, images: Any) -> Any:
    import torch

    with torch.inference_mode():
        return np.concatenate([module(batch).numpy() for batch in torch.from_numpy(images).split(8)])


def _session(session: Any, key: str, images: Any) -> Any:
    size = session.input.shape[0] or 1
    return np.concatenate([session.run(images[n : n + size])[key] for n in range(0, len(images), size)])


def _onnxruntime(file: Path, module: Any, images: Any, place: Path) -> Callable[[Any], Any]:
    """onnxruntime.quantization: QDQ, one scale per channel, min-max."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter({"image": image[None]} for image in images)

        def get_next(self) -> Any:
            return next(self.left, None)

    quant_pre_process(str(file), str(place / "pre.onnx"))
    target = place / "ort.onnx"
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(
        str(place / "pre.onnx"), str(target), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, **kinds
    )
    session = onnxruntime.InferenceSession(str(target))
    return lambda x: np.concatenate([session.run(None, {"image": image[None]})[0] for image in x])


def _nncf(file: Path, module: Any, images: Any, place: Path) -> Callable[[Any], Any]:
    """NNCF's post-training quantisation for OpenVINO."""
    import nncf
    import openvino

    data = nncf.Dataset([image[None] for image in images])
    core = openvino.Core()
    model = nncf.quantize(core.read_model(str(file)), data, subset_size=len(images))
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: np.concatenate([compiled([image[None]])[0] for image in x])


def _pt2e(file: Path, module: Any, images: Any, place: Path) -> Callable[[Any], Any]:
    """torchao's PT2E with XNNPACK's quantiser, run in eager torch."""
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    example = (torch.from_numpy(images[:1]),)
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    observed = prepare_pt2e(torch.export.export(module, example).module(), quantizer)
    for image in images:
        observed(torch.from_numpy(image[None]))
    converted = convert_pt2e(observed)
    return lambda x: np.concatenate([converted(torch.from_numpy(image[None])).detach().numpy() for image in x])


def _litert(file: Path, module: Any, images: Any, place: Path) -> Callable[[Any], Any]:
    """ai-edge-quantizer, static, on archc's float file."""
    from ai_edge_quantizer import quantizer, recipe

    from archc.exporting.export import export

    source, target = place / "float.tflite", place / "peer.tflite"
    graph = module.archc_graph
    export(graph, source, state=builder("torch").read(module, graph), check=False, batch=1)
    made = quantizer.Quantizer(str(source))
    made.load_quantization_recipe(recipe.static_wi8_ai8())
    session = open_file(source)
    inputs = [{"image": np.ascontiguousarray(session.prepare(image[None]))} for image in images]
    result = made.calibrate({"serving_default": inputs})
    made.quantize(result).export_model(str(target))
    opened = open_file(target)
    key = opened.outputs[0]
    return lambda x: np.concatenate([opened.run(image[None])[key] for image in x])


PEERS: dict[str, Callable[[Path, Any, Any, Path], Callable[[Any], Any]]] = {
    "onnxruntime": _onnxruntime,
    "nncf": _nncf,
    "litert": _litert,
    "pt2e": _pt2e,
}


if __name__ == "__main__":
    main()
