"""Every runtime beside eager torch, in one run: `python -m tests.benchmarks.runtimes` prints the README's tables.

All engines of a network, in all precisions, run in turn, each in a process of its own; `archc bench` says how. The
second table holds the time that archc takes to write a file against the time that torch's exporter takes for the same
network.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

import archc
from archc.benchmarking.bench import run
from archc.benchmarking.engines import ENGINES
from archc.benchmarking.networks import networks
from archc.benchmarking.plan import Plan
from archc.benchmarking.results import Benchmark, Timing

NETWORKS = ("mnv3_large", "mobilevit_s", "efficientnet_lite0", "lraspp_mnv3_large")
PRECISIONS = ("f32", "bf16", "int8")
EXPORTS = {"onnx": ".onnx", "litert": ".tflite"}


def cell(timing: Timing) -> str:
    """`5.21 (3.1×)`, or what there is in its place."""
    if timing.spread is None:
        return "–" if timing.status == "impossible" else "failed"
    ratio = "" if timing.ratio is None else f" ({timing.ratio:.1f}×)"
    return f"{timing.spread.median:.2f}{ratio}"


def timings(found: Benchmark, batches: tuple[int, ...]) -> None:
    """Print one line for each network, engine and precision that was timed."""
    titles = " | ".join(f"batch {batch}, ms (× eager)" for batch in batches)
    print(f"| network | runtime | precision | MB | {titles} | difference |")
    print("|---|---|---|---|" + "---|" * len(batches) + "---|")
    rows: dict[tuple[str, str, str], list[Timing]] = {}
    for timing in found.timings:
        rows.setdefault((timing.network, timing.engine, timing.precision), []).append(timing)
    for (network, engine, precision), row in rows.items():
        if all(timing.status == "impossible" for timing in row):
            continue
        size = "–" if row[0].size is None else f"{row[0].size / 1e6:.1f}"
        worst = max((timing.difference for timing in row if timing.difference is not None), default=None)
        end = "–" if worst is None else f"{worst:.0e}"
        named = f"{engine} {row[0].version}"
        print(f"| {network} | {named} | {precision} | {size} | {' | '.join(map(cell, row))} | {end} |")
    for timing in found.timings:
        if timing.status == "failed":
            print(f"\n{timing.network}, {timing.engine} {timing.precision}, batch {timing.batch}: {timing.reason}")
    for reason in dict.fromkeys(
        f"{t.engine} {t.precision}: {t.reason}" for t in found.timings if t.status == "impossible"
    ):
        print(f"\nnot timed: {reason}")
    for note in (*found.missing.values(), *found.notes):
        print(f"\n{note}")


def seconds(call: Callable[[], object], times: int) -> float:
    """The median of several calls."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def exports(names: list[str]) -> None:
    """Print how long a file takes to be written, everything imported before."""
    titles = [f"archc, {target}" for target in EXPORTS]
    print(f"| network | {' | '.join(titles)} | torch.onnx.export | × faster |\n|---|{'---|' * len(titles)}---|---|")
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            spec = archc.load(name)
            model = archc.build(spec, seed=0).eval()
            image = torch.randn(1, *archc.lower(spec).input.shape)
            paths = [Path(directory) / f"x{suffix}" for suffix in EXPORTS.values()]
            ours = [seconds(partial(archc.export, model, path, check=False, overwrite=True), 3) for path in paths]
            theirs = seconds(partial(_torch_export, model, image, Path(directory) / "y.onnx"), 1)
            cells = " | ".join(f"{1e3 * taken:.0f} ms" for taken in ours)
            print(f"| {name} | {cells} | {theirs:.1f} s | {theirs / ours[0]:.0f}× |", flush=True)


def _torch_export(model: torch.nn.Module, image: torch.Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (image,), path, dynamo=True, verbose=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--runtime", nargs="*", default=list(ENGINES))
    parser.add_argument("--precision", nargs="*", default=list(PRECISIONS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", nargs="*", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--no-exports", action="store_true")
    asked = parser.parse_args()
    plan = Plan(asked.runtime, [asked.threads], asked.batch, asked.precision, asked.rounds)
    plan.check()
    found = run(networks(asked.networks), plan, lambda text: print(text, file=sys.stderr))
    print(f"archc {archc.__version__}, {found.machine}, {asked.threads} threads, {found.rounds} rounds\n")
    timings(found, tuple(asked.batch))
    if not asked.no_exports:
        print()
        exports(asked.networks)


if __name__ == "__main__":
    main()
