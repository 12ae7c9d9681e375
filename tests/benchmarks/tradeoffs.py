"""The first write-up's trade-offs, between archc's own networks on this machine, beside what it claims.

Random weights: what a network costs does not depend on them, but for a detector's proposals. How many there were is
printed, as the box head's time follows from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

import archc
from tests.benchmarks.timing import pair


class Trade(NamedTuple):
    """A claim: the second network against the first, each a spec with overrides, on one image of this size."""

    what: str
    slow: tuple[str, ...]
    fast: tuple[str, ...]
    sizes: tuple[tuple[int, int], tuple[int, int]]
    claim: str


def _both(size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (size, size), (size, size)


_DETECTED = (480, 640)
"""Height and width of a usual photograph; a detector resizes it by itself."""
_MANY = "detector.rpn.post_nms_top_n_test=1000", "detector.rpn.pre_nms_top_n_test=1000"

TRADES = (
    Trade("MobileNetV3-Large against ResNet-50", ("resnet50",), ("mnv3_large",), _both(224), "6×"),
    Trade(
        "`reduced_tail` of MobileNetV3-Large", ("mnv3_large",), ("mnv3_large", "reduced_tail=true"), _both(224), "15 %"
    ),
    Trade(
        "LR-ASPP against FCN-ResNet50",
        ("fcn_resnet50", "~outputs.aux"),
        ("lraspp_mnv3_large",),
        _both(520),
        "8.5×",
    ),
    Trade(
        "DeepLabV3-MobileNetV3 against DeepLabV3-ResNet50",
        ("deeplabv3_resnet50", "~outputs.aux"),
        ("deeplabv3_mnv3_large", "~outputs.aux"),
        _both(520),
        "8.5×",
    ),
    Trade(
        "LR-ASPP at 320 against 520 pixels",
        ("lraspp_mnv3_large",),
        ("lraspp_mnv3_large",),
        ((520, 520), (320, 320)),
        "60 %",
    ),
    Trade(
        "Faster R-CNN MobileNetV3 against ResNet-50, both 800 pixels",
        ("fasterrcnn_resnet50_fpn",),
        ("fasterrcnn_mnv3_large_fpn",),
        (_DETECTED, _DETECTED),
        "5×",
    ),
    Trade(
        "Faster R-CNN MobileNetV3 320: 150 proposals against 1000",
        (
            "fasterrcnn_mnv3_large_320_fpn",
            "detector.rpn.post_nms_top_n_test=1000",
            "detector.rpn.pre_nms_top_n_test=1000",
        ),
        ("fasterrcnn_mnv3_large_320_fpn",),
        (_DETECTED, _DETECTED),
        "45 %",
    ),
    Trade(
        "SSDlite320 with the reduced tail against the full one",
        ("ssdlite320_mnv3_large", "reduced_tail=false"),
        ("ssdlite320_mnv3_large",),
        (_DETECTED, _DETECTED),
        "15 %",
    ),
)


def tradeoffs(rounds: int) -> None:
    """Print the table."""
    print("\n| trade | setting | slow | fast | measured | claimed |\n|---|---|---|---|---|---|", flush=True)
    for trade in TRADES:
        slow, fast = (_call(words, size) for words, size in zip((trade.slow, trade.fast), trade.sizes, strict=True))
        one, other = pair(slow.run, fast.run, rounds)
        setting = "; ".join(dict.fromkeys(f"{h}×{w}" for h, w in trade.sizes))
        if slow.proposals or fast.proposals:
            setting += f"; {slow.proposals} and {fast.proposals} proposals"
        measured = f"{one / other:.1f}× as fast, {100 * (1 - other / one):.0f} % less time"
        print(
            f"| {trade.what} | {setting} | {one:,.0f} ms | {other:,.0f} ms | {measured} | {trade.claim} |", flush=True
        )


class _Call(NamedTuple):
    run: Callable[[], object]
    proposals: int


def _call(words: tuple[str, ...], size: tuple[int, int]) -> _Call:
    spec = archc.load(words[0], words[1:])
    model = archc.build(spec, seed=0).eval()
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    batch: Any = image[None] if spec.detector is None else [image]

    def run() -> object:
        with torch.inference_mode():
            return model(batch)

    return _Call(run, _proposals(model, run))


def _proposals(model: nn.Module, run: Callable[[], object]) -> int:
    """How many boxes reach a second stage, if there is one."""
    seen: list[int] = []
    heads = getattr(model, "roi_heads", None)
    if heads is None:
        return 0
    hook = heads.box_roi_pool.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[1][0])))
    run()
    hook.remove()
    return seen[0]
