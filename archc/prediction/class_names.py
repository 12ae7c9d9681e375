"""Names of classes: a dataset's, a file's, or the caller's own."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Final

from archc.document.diagnostics import Diagnostic, Source, Span
from archc.prediction.errors import PredictionError
from archc.prediction.task import Kind

NO_NAMES: Final = "none"
"""In place of a file: classes go by their numbers."""

LARGEST_FILE: Final = 1 << 24
"""Bytes that are read of a file of class names."""


def class_names(stated: str | PathLike[str] | Sequence[str] | None, kind: Kind, classes: int) -> tuple[str, ...] | None:
    """The names of a network's classes; None where only their numbers are known.

    `stated` is a file, the names themselves, `"none"` for numbers, or None for the names of a known dataset.

    Raises:
        PredictionError: as `read_names`.
    """
    if stated is None:
        return names_for(kind, classes)
    if isinstance(stated, str | PathLike):
        return None if stated == NO_NAMES else read_names(Path(stated), classes)
    return _checked(tuple(stated), "`classes`", classes)


def names_for(kind: Kind, classes: int) -> tuple[str, ...] | None:
    """The class names of the known dataset with this number of classes for this task; None where there is none.

    They are ImageNet's 1000 for classification, Pascal VOC's 21 for masks and COCO's 91 for boxes. In the last two,
    class 0 is the background.
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
    """Read a file of class names: UTF-8, one per line, in the order of the network's classes.

    Raises:
        PredictionError: it cannot be read, has a line without a name, or not as many names as there are classes.
    """
    text = _text(path)
    names = tuple(line.strip() for line in text.rstrip().split("\n")) if text.strip() else ()
    if "" in names:
        line = names.index("") + 1
        span = Span(Source(str(path), text), line, 1)
        raise _refused("a line without a name", span, help="every class needs a name")
    return _checked(names, f"`{path}`", classes)


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # a device or a pipe may never end
            raise _refused(f"`{path}` is not a regular file")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise _refused(f"`{path}` is larger than {LARGEST_FILE >> 20} MiB, so it holds no class names")
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise _refused(f"`{path}` cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _refused(f"`{path}` is not UTF-8 text") from None
    except ValueError as error:
        if isinstance(error, PredictionError):
            raise
        raise _refused(f"`{path}` cannot be read: {error}") from None  # a NUL in its name


def _checked(names: tuple[str, ...], given: str, classes: int) -> tuple[str, ...]:
    if len(names) != classes:
        plural = "s" * (len(names) != 1)
        message = f"{given} has {len(names):,} name{plural}, but the network has {classes:,} classes"
        raise _refused(message, help="give one name per line, in the network's order")
    return names


def _refused(message: str, span: Span | None = None, help: str = "") -> PredictionError:
    return PredictionError(Diagnostic("class-names", message, span, help=help))
