"""The heads that run on a two-stage detector's proposals: a network of their own, made of ordinary rows."""

from __future__ import annotations

from typing import NamedTuple

from archc.blocks.simple import Linear
from archc.document.values import FrozenDict
from archc.ir import ops
from archc.language.detector import FasterRcnn
from archc.language.row import Row
from archc.language.schema import Spec
from archc.language.settings import DropPath, Init
from archc.language.values import Activation

ON = "proposals"
NAME = "roi_heads"


class ProposalHeads(NamedTuple):
    """The network before it is lowered, the shape of what it takes, and how often it runs at most."""

    spec: Spec
    input: ops.Image
    times: int


def proposal_heads(spec: Spec, detector: FasterRcnn, levels: tuple[ops.Image, ...]) -> ProposalHeads:
    """The box head of a Faster R-CNN and its predictions, after all passes, for levels of these shapes.

    Its stages are `fc6`, `fc7`, …, the fully connected layers (in the paper's VGG they had these names), and `scores`
    and `deltas`, the predictions: one and four numbers for each class.
    """
    rpn, box = detector.rpn, detector.box
    found = sum(
        min(rpn.pre_nms_top_n_test, detector.anchors.count(number) * level.height * level.width)
        for number, level in enumerate(levels)
    )
    hidden = {f"fc{number}": _linear(width, box.init, "relu") for number, width in enumerate(box.hidden, start=6)}
    last = next(reversed(hidden))
    stages = {
        **hidden,
        "scores": _linear(spec.num_classes, box.init, after=last),
        "deltas": _linear(4 * spec.num_classes, box.init, after=last),
    }
    heads = spec.replace(
        name=NAME,
        stages=FrozenDict({stage: (row,) for stage, row in stages.items()}),
        outputs=("scores", "deltas"),
        detector=None,
        tail=(),
        drop_path=DropPath(),
    )
    return ProposalHeads(heads, ops.Image(levels[0].channels, *box.roi_size), min(rpn.post_nms_top_n_test, found))


def _linear(out: int, init: Init, act: Activation = "none", after: str = "") -> Row:
    # Unchecked, as a number of classes may exceed what a row can state.
    return Linear.model_construct(block="linear", out=out, act=act, init=init.stated(), from_=after or None)
