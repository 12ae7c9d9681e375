"""What classes are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from archc.spec.diagnostics import Diagnostic, Source, Span
from archc.tasks.errors import TaskError

IMAGENET = 1000


def names_for(classes: int) -> tuple[str, ...] | None:
    """ImageNet's names for a network of 1000 classes, None for any other: its classes have numbers only."""
    if classes != IMAGENET:
        return None
    # One list, the one that torchvision's checkpoints were published with, rather than a copy of it here.
    from torchvision.models import MobileNet_V3_Large_Weights

    names: Sequence[str] = MobileNet_V3_Large_Weights.IMAGENET1K_V1.meta["categories"]
    return tuple(names)


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
