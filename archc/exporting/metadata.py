"""What an exported file says about its network, so that it can be used by the file alone.

It states the network as a file of weights does (`archc.transforms.provenance`), and three things more: archc's version,
the names of the classes, and how an image becomes the input. Every format has a place for texts by key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from archc.ir.graph import Graph
from archc.transforms.provenance import statement

VERSION = "archc_version"
CLASSES = "archc_classes"
"""The names of the classes in the network's order, as a JSON list; missing where they are not known."""
PREPROCESSING = "archc_preprocessing"
"""The spec's `input`, as JSON: for readers that know nothing of specs."""
PRECISION = "archc_precision"


def metadata(graph: Graph, classes: Sequence[str] | None, precision: str) -> dict[str, str]:
    """The texts for an exported file of a network."""
    import archc

    found = {**statement(graph), VERSION: archc.__version__, PRECISION: precision}
    if graph.preprocessing is not None:
        found[PREPROCESSING] = json.dumps(graph.preprocessing.model_dump(mode="json"))
    if classes is not None:
        found[CLASSES] = json.dumps(list(classes), ensure_ascii=False)
    return found


def classes(found: Mapping[str, str]) -> tuple[str, ...] | None:
    """The names of the classes that a file states.

    Raises:
        ValueError: they are no list of texts.
    """
    if CLASSES not in found:
        return None
    names = json.loads(found[CLASSES])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"`{CLASSES}` is no list of names")
    return tuple(names)
