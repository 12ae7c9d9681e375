"""What an exported file says about its network, so that it can be used by the file alone.

It states the network as a file of weights does (`archc.transforms.provenance`), and three things more: archc's version,
the names of the classes, and how an image becomes the input. Every format has a place for texts by key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from archc.ir.graph import Graph
from archc.runtimes.metadata import CLASSES, PRECISION, PREPROCESSING, VERSION
from archc.transforms.provenance import statement


def metadata(graph: Graph, classes: Sequence[str] | None, precision: str) -> dict[str, str]:
    """The texts for an exported file of a network."""
    import archc

    found = {**statement(graph), VERSION: archc.__version__, PRECISION: precision}
    if graph.preprocessing is not None:
        found[PREPROCESSING] = json.dumps(graph.preprocessing.model_dump(mode="json"))
    if classes is not None:
        found[CLASSES] = json.dumps(list(classes), ensure_ascii=False)
    return found
