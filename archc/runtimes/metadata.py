"""What an exported file says about its network beside stating it: the keys, and how they are read.

The network itself is stated as in a file of weights; see `archc.transforms.provenance`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

VERSION = "archc_version"
CLASSES = "archc_classes"
"""The names of the classes in the network's order, as a JSON list; missing where they are not known."""
PREPROCESSING = "archc_preprocessing"
"""The spec's `input`, as JSON: for readers that know nothing of specs."""
PRECISION = "archc_precision"


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
