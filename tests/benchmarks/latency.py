"""Predicted against measured latency: `python -m tests.benchmarks.latency [--runtime NAME]` prints Markdown.

A table is measured on `TABLE`, and prices every network of `VARIANTS`, none of which is in it. These are then measured
too. The median of the relative errors and the rank correlation say how good a table's prices are.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace

import archc
from archc.benchmarking.networks import networks
from archc.benchmarking.per_op import Setting, measure
from archc.exporting.network import Network

SMALL, LARGE = "mnv3_small", "mnv3_large"
TABLE = [(SMALL, "width_mult=0.5,0.75,1.0,1.25"), (LARGE, "width_mult=0.5,0.75,1.0,1.25")]
VARIANTS = {
    SMALL: [
        ["width_mult=0.6"],
        ["width_mult=0.85"],
        ["width_mult=1.1"],
        ["stages.c3.1.kernel=5"],
        ["stages.c4.1.kernel=3", "stages.c4.2.kernel=3"],
        ["stages.c5.1.kernel=3", "stages.c5.2.kernel=3"],
        ["stages.c4.1.expand=160", "stages.c4.2.expand=160"],
        ["stages.c5.1.expand=400"],
        ["~stages.c4.2"],
        ["reduced_tail=true"],
        ["input.size=192"],
        ["stages.c4.3.se=false", "stages.c4.4.se=false"],
    ],
    LARGE: [
        ["width_mult=0.65"],
        ["width_mult=0.9"],
        ["width_mult=1.1"],
        ["stages.c2.1.kernel=5"],
        ["stages.c4.1.kernel=5", "stages.c4.2.kernel=5"],
        ["stages.c3.1.kernel=3", "stages.c3.2.kernel=3"],
        ["stages.c4.4.expand=336", "stages.c4.5.expand=336"],
        ["stages.c3.1.expand=80", "stages.c3.2.expand=80"],
        ["~stages.c4.3", "~stages.c4.2"],
        ["reduced_tail=true"],
        ["input.size=192"],
        ["stages.c5.1.out=160", "stages.c5.1.expand=640"],
    ],
}


def variants() -> dict[str, Network]:
    """Every variant by its name."""
    found: dict[str, Network] = {}
    for spec, changes in VARIANTS.items():
        for change in changes:
            found.update(networks([spec], overrides=change))
    return found


def ranks(values: Sequence[float]) -> list[float]:
    """The place of each value among all."""
    order = sorted(values)
    return [float(order.index(value)) for value in values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    setting = Setting(asked.runtime, asked.precision, asked.threads, asked.batch, asked.rounds)

    def step(text: str) -> None:
        print(text, file=sys.stderr)

    known: dict[str, Network] = {}
    for spec, sweep in TABLE:
        known.update(networks([spec], overrides=[sweep]))
    asked_for = variants()
    assert not asked_for.keys() & known.keys()
    everything = {**known, **asked_for}
    found = measure(everything, setting, step, together=len(everything) if asked.runtime != "eager" else 8)
    table = replace(found, networks=tuple(network for network in found.networks if network.name in known))
    prices = {name: table.price(network.graph) for name, network in asked_for.items()}
    measured = {network.name: network.ms for network in found.networks if network.name in asked_for}

    print(
        f"{table.conditions}; the table has {len(table.networks)} networks, {len(table.known)} different operations\n"
    )
    print("| variant | measured, ms | predicted, ms | error | operations in the table |")
    print("|---|---|---|---|---|")
    errors = []
    for name, ms in measured.items():
        price = prices[name]
        errors.append(price.ms / ms - 1)
        print(
            f"| {name} | {ms:.2f} | {price.ms:.2f} | {100 * errors[-1]:+.1f} % | {price.measured}/{len(price.units)} |"
        )
    order = statistics.correlation(ranks([prices[name].ms for name in measured]), ranks(list(measured.values())))
    typical = 100 * statistics.median(map(abs, errors))
    worst = 100 * max(map(abs, errors))
    print(
        f"\n{len(measured)} variants: median error {typical:.1f} %, worst {worst:.1f} %, rank correlation {order:.3f}"
    )


if __name__ == "__main__":
    print(f"archc {archc.__version__}")
    main()
