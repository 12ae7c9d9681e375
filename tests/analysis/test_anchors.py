"""Anchors from the graph alone, against torchvision's generators."""

import numpy as np
import pytest
import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.image_list import ImageList

import archc
from archc.analysis.anchors import SSD_WEIGHTS, anchors, box_weights, decode
from archc.backends.torch.parts import parts
from archc.blocks.lower import lower
from archc.ir.graph import Graph
from archc.ir.ops import Image

SPECS = [
    "ssdlite320_mnv3_large",
    "ssdlite_mobilevit_s",
    "fasterrcnn_mnv3_large_320_fpn",
    "fasterrcnn_mnv3_large_fpn",
    "fasterrcnn_resnet50_fpn",
]
SSD = {
    "steps": ["detector.boxes.steps=[16,32,64,107,160,320]"],
    "no clip": ["detector.boxes.clip=false", "detector.boxes.max_ratio=1.4"],
    "scales": ["detector.boxes.scales=[0.1,0.2,0.4,0.5,0.7,0.9,1.2]", "input.size=[192,256]"],
    "ratios": ["detector.boxes.aspect_ratios=[[2],[2,3],[2,3],[5],[],[1.5]]"],
}
RPN = {
    "odd size": ["input.size=[211,347]"],
    "levels": ["detector.anchors.sizes=[[16,24],[64,80],[128,200]]", "detector.anchors.aspect_ratios=[0.3,1.7]"],
}


def theirs(graph: Graph) -> np.ndarray:
    """What the torchvision detector's own generator makes for one image of the graph's size."""
    model = archc.build(graph, seed=0)
    generator = model.anchor_generator if hasattr(model, "anchor_generator") else model.rpn.anchor_generator
    shape = graph.input.shape
    assert isinstance(shape, Image)
    levels = [graph.shapes()[node] for node in graph.levels.values()]
    maps = [torch.empty(1, level.channels, level.height, level.width) for level in levels if isinstance(level, Image)]
    image = torch.empty(1, 3, shape.height, shape.width)
    (found,) = generator(ImageList(image, [(shape.height, shape.width)]), maps)
    return found.numpy()


@pytest.mark.parametrize("name", SPECS)
def test_bundled(name: str) -> None:
    graph = lower(archc.load(name))
    ours = anchors(graph)
    assert len(ours) == len(graph.levels) == len(parts(graph).backbone.graph.outputs)
    np.testing.assert_array_equal(np.concatenate(ours), theirs(graph), strict=True)


@pytest.mark.parametrize("changes", SSD.values(), ids=SSD)
def test_default_boxes(changes: list[str]) -> None:
    graph = lower(archc.load("ssdlite320_mnv3_large", changes))
    np.testing.assert_array_equal(np.concatenate(anchors(graph)), theirs(graph), strict=True)


@pytest.mark.parametrize("changes", RPN.values(), ids=RPN)
def test_rpn(changes: list[str]) -> None:
    graph = lower(archc.load("fasterrcnn_mnv3_large_320_fpn", changes))
    np.testing.assert_array_equal(np.concatenate(anchors(graph)), theirs(graph), strict=True)


def test_one_level() -> None:
    changes = ["outputs={a: c5}", "detector.boxes.aspect_ratios=[2]"]
    graph = lower(archc.load("ssdlite320_mnv3_large", changes))
    np.testing.assert_array_equal(np.concatenate(anchors(graph)), theirs(graph), strict=True)


def test_decode() -> None:
    random = np.random.default_rng(0)
    deltas = 8 * random.standard_normal((500, 4), dtype=np.float32)
    boxes = random.random((500, 4), dtype=np.float32) * 50
    boxes[:, 2:] += boxes[:, :2]
    theirs = BoxCoder(SSD_WEIGHTS).decode_single(torch.from_numpy(deltas), torch.from_numpy(boxes))
    np.testing.assert_allclose(decode(deltas, boxes, SSD_WEIGHTS), theirs, rtol=1e-5, atol=1e-3)


def test_weights() -> None:
    for name in SPECS:
        graph = lower(archc.load(name))
        assert graph.detector is not None
        model = archc.build(graph, device="meta")
        coder = model.box_coder if hasattr(model, "box_coder") else model.roi_heads.box_coder
        assert box_weights(graph.detector) == coder.weights


def test_no_detector() -> None:
    with pytest.raises(ValueError, match="`mobilenet_v3_small` is no detector"):
        anchors(lower(archc.load("mnv3_small")))
