"""archc beside its peers, in one run: `python -m tests.benchmarks` prints the README's tables.

Every pair is timed alternately, so that a busy moment of the machine falls on both; the medians and their ratio count.
"""

from __future__ import annotations

import argparse
import logging
import platform
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import timm
import torch
import torchvision.models as tv
from fvcore.nn import FlopCountAnalysis
from safetensors.torch import load_file, save_file
from torch import nn

import archc
from tests.benchmarks.timing import pair, row
from tests.benchmarks.tradeoffs import tradeoffs

ROOT = Path(__file__).parents[2]
COLD_PEER = """
import logging, torch, torchvision
from fvcore.nn import FlopCountAnalysis
logging.getLogger("fvcore").setLevel(logging.ERROR)
model = torchvision.models.mobilenet_v3_small(width_mult=0.75).eval()
print(sum(p.numel() for p in model.parameters()), FlopCountAnalysis(model, torch.zeros(1, 3, 224, 224)).total())
"""
COLD_FLOOR = "import pydantic; pydantic.BaseModel; import hydra.core.override_parser.overrides_parser"


def process(*arguments: str) -> Callable[[], object]:
    """A cold Python process."""
    return lambda: subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)


def cold(rounds: int) -> None:
    """A cold process: archc's report, the peer's, and the imports that archc's cannot avoid."""
    report = process("-m", "archc", "report", "specs/mnv3_small.yaml", "width_mult=0.75")
    ours, theirs = pair(report, process("-c", COLD_PEER), rounds)
    row("`archc report specs/mnv3_small.yaml width_mult=0.75`, cold", "torchvision + fvcore, cold", ours, theirs)
    ours, floor = pair(report, process("-c", COLD_FLOOR), rounds)
    row("the same report, cold", "only importing pydantic and Hydra's parser", ours, floor)


def pricing(rounds: int) -> None:
    """Widths that were not priced before: of ours many in a row, as a sweep does, and the time of one is shown."""
    spec = archc.load("mnv3_small")
    in_a_row = 20
    widths = iter([0.3 + 0.0005 * number for number in range((in_a_row + 1) * (rounds + 3))])

    def ours() -> None:
        for _ in range(in_a_row):
            report = archc.report(archc.lower(spec.override(width_mult=next(widths))))
            assert report.params < report.macs

    def theirs() -> tuple[int, float]:
        model = tv.mobilenet_v3_small(width_mult=next(widths)).eval()
        analysis = FlopCountAnalysis(model, torch.zeros(1, 3, 224, 224))
        quiet = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return sum(p.numel() for p in model.parameters()), quiet.total()

    ours()  # so that imports and the first rows' lowering are not in it
    many, one = pair(ours, theirs, rounds)
    row(
        f"pricing a new `width_mult` in-process, {in_a_row} in a row",
        "torchvision build + fvcore",
        many / in_a_row,
        one,
    )


NETWORKS: dict[str, tuple[str, Callable[[], nn.Module], int]] = {
    "mnv3_large": ("torchvision", tv.mobilenet_v3_large, 224),
    "mnv3_small": ("torchvision", tv.mobilenet_v3_small, 224),
    "resnet50": ("torchvision", tv.resnet50, 224),
    "mobilevit_s": ("timm", lambda: timm.create_model("mobilevit_s"), 256),
}


def building(rounds: int) -> None:
    """From a loaded spec to an initialised module, against the constructor."""
    for name, (peer, make, _) in NETWORKS.items():
        spec = archc.load(name)
        row(f"`archc.build` of `{name}`", f"{peer}'s constructor", *pair(lambda s=spec: archc.build(s), make, rounds))


def loading(rounds: int) -> None:
    """A checkpoint's file into a module, names and all, against reading it and `load_state_dict`."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", archc.WeightsWarning)
        for name, (peer, make, _) in NETWORKS.items():
            theirs, ours = make(), archc.build(name)
            path = Path(folder) / name
            torch.save(theirs.state_dict(), path)
            medians = pair(
                lambda m=ours, p=path: archc.load_weights(m, p),
                lambda m=theirs, p=path: m.load_state_dict(torch.load(p, weights_only=True)),
                rounds,
            )
            row(f"`archc.load_weights` of `{name}`", f"`torch.load` and `load_state_dict`, {peer}", *medians)
            save_file(theirs.state_dict(), path)
            medians = pair(
                lambda m=ours, p=path: archc.load_weights(m, p),
                lambda m=theirs, p=path: m.load_state_dict(load_file(p)),
                rounds,
            )
            row(f"the same from safetensors, `{name}`", f"`load_file` and `load_state_dict`, {peer}", *medians)


def forward(rounds: int) -> None:
    """Eager inference on the CPU."""
    for name, (peer, make, size) in NETWORKS.items():
        ours, theirs = archc.build(name).eval(), make().eval()
        for batch in (1, 8):
            image = torch.randn(batch, 3, size, size)
            with torch.inference_mode():
                medians = pair(lambda m=ours, x=image: m(x), lambda m=theirs, x=image: m(x), rounds)
            row(f"eager forward of `{name}`, batch {batch}", peer, *medians)


def keras_building(rounds: int) -> None:
    """From a loaded spec to an initialised Keras model, against keras.applications; `KERAS_BACKEND` says on what.

    Theirs all start Glorot-uniform, so ours do, too: normal numbers would take longer to draw.
    """
    archc.build("keras_mnv3_small", backend="keras")  # so that Keras is imported
    import keras

    applications = keras.applications
    backend = keras.backend.backend()
    peers = {
        "keras_mnv3_small": applications.MobileNetV3Small,
        "keras_mnv3_large": applications.MobileNetV3Large,
        "mobilenet_v2": applications.MobileNetV2,
        "resnet50": applications.ResNet50,
    }
    for name, make in peers.items():
        spec = archc.load(name, ["init.conv=xavier_uniform", "init.linear=xavier_uniform"])
        medians = pair(
            lambda s=spec: archc.build(s, backend="keras"), lambda m=make: m(weights=None, input_shape=None), rounds
        )
        row(f"`archc.build` of `{name}` for Keras on {backend}", "keras.applications' constructor", *medians)


AGAINST_PEERS = {
    "cold": (cold, 9),
    "pricing": (pricing, 15),
    "building": (building, 15),
    "loading": (loading, 15),
    "forward": (forward, 15),
    "keras": (keras_building, 15),
}
SECTIONS = (*AGAINST_PEERS, "tradeoffs")


def main() -> None:
    """Run the sections asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="default: all")
    warnings.simplefilter("ignore")
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    torch.set_num_threads(1)  # threads that wait for each other make a busy machine's timings meaningless
    chosen = parser.parse_args().sections or SECTIONS
    print(f"Python {platform.python_version()}, torch {torch.__version__}, one thread; medians")
    if paired := [AGAINST_PEERS[name] for name in chosen if name in AGAINST_PEERS]:
        print("\n| what | archc | against | peer | ratio |\n|---|---|---|---|---|")
        for section, rounds in paired:
            section(rounds)
    if "tradeoffs" in chosen:
        tradeoffs(rounds=7)


if __name__ == "__main__":
    main()
