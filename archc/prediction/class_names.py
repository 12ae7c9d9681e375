"""What classes are called."""

from __future__ import annotations

from pathlib import Path

from archc.document.diagnostics import Diagnostic, Source, Span
from archc.prediction.errors import TaskError
from archc.prediction.task import Kind


def names_for(kind: Kind, classes: int) -> tuple[str, ...] | None:
    """The names of the dataset that has so many classes for this task; None where it is none of the three.

    They are ImageNet's 1000 for classification, Pascal VOC's 21 for masks and COCO's 91 for boxes; the last two count
    the background, as number 0.
    """
    # The lists that torchvision's checkpoints were published with, rather than copies of them here.
    from torchvision import models

    published = {
        ("classes", 1000): models.MobileNet_V3_Large_Weights.IMAGENET1K_V1,
        ("mask", 21): models.segmentation.LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1,
        ("boxes", 91): models.detection.FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1,
    }
    weights = published.get((kind, classes))
    return None if weights is None else tuple(weights.meta["categories"])


def read_names(path: Path, classes: int) -> tuple[str, ...]:
    """Read a file of class names: UTF-8, one a line, in the order of the network's classes.

    Raises:
        TaskError: unreadable, a line without a name, or not as many names as classes.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TaskError(Diagnostic("class-names", f"`{path}` cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError:
        raise TaskError(Diagnostic("class-names", f"`{path}` is not UTF-8 text")) from None
    names = [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []
    if "" in names:
        line = names.index("") + 1
        span = Span(Source(str(path), text), line, 1)
        raise TaskError(Diagnostic("class-names", "a line without a name", span, "every class has one"))
    if len(names) != classes:
        plural = "s" * (len(names) != 1)
        message = f"`{path}` has {len(names):,} name{plural}, but the network has {classes:,} classes"
        raise TaskError(Diagnostic("class-names", message, help="write one name a line, in the network's order"))
    return tuple(names)
