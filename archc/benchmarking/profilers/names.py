"""Which operation of a network a runtime's node belongs to, by names.

An emitter names the nodes of a file after the network's operations. Runtimes derive from these the names of what they
fuse, split and insert: `c4.0.conv_nchwc`, `c4.0.conv/WithoutBiases`, `image_abcd_acdb_stem.0.conv`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from archc.ir.graph import Graph


def known_names(graph: Graph) -> dict[str, str]:
    """The operations of a network by the names that nodes may have: their own, and those of outputs."""
    return {**graph.outputs, **{node.name: node.name for node in graph.nodes[1:]}}


def operation(texts: Iterable[str], known: Mapping[str, str]) -> str:
    """The operation that the first of these texts names which names one; of several in it, the one that it starts with.

    Raises:
        ValueError: none does.
    """
    given = [text for text in texts if text]
    for text in given:
        if found := [(place, -len(name), name) for name in known if (place := _place(text, name)) >= 0]:
            return known[min(found)[2]]
    raise ValueError(f"the runtime timed `{given[0]}`, which names no operation of the network")


def _place(text: str, name: str) -> int:
    """Where a name stands in a text, at its start or after `_`; -1 if nowhere. `c4.1` does not stand in `c4.10`."""
    place = text.find(name)
    while place >= 0:
        after = text[place + len(name) : place + len(name) + 1]
        if (place == 0 or text[place - 1] == "_") and not (after.isalnum() or after == "-"):
            return place
        place = text.find(name, place + 1)
    return -1
