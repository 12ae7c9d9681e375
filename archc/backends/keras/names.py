"""What layers are called: the names of operations, as Keras can spell them."""

from __future__ import annotations

from collections.abc import Mapping

from archc.ir.graph import Graph


def layer_names(graph: Graph) -> Mapping[str, str]:
    """The layer's name for every operation's: `c4.0.depthwise.conv` is `c4_0_depthwise_conv`.

    Keras refuses `/`, and its torch backend `.`; where two names become one, the later gets a `_`.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for node in graph.nodes:
        name = node.name.replace(".", "_")
        while name in taken:
            name += "_"
        taken.add(name)
        found[node.name] = name
    return found
