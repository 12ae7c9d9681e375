"""Which operation of a network a runtime's node belongs to, by names.

An emitter names the nodes of a file after the network's operations. Runtimes derive from these the names of what they
fuse, split and insert: `c4.0.conv_nchwc`, `c4.0.conv/WithoutBiases`, `image_abcd_acdb_stem.0.conv`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable


def operation(texts: Iterable[str], known: Collection[str]) -> str:
    """The operation that the first of these texts names which names one: at its start, else at its end.

    Raises:
        ValueError: none does.
    """
    given = [text for text in texts if text]
    for text in given:
        starts = [name for name in known if text.startswith(name) and _ends(text[len(name) :])]
        ends = [name for name in known if text.endswith("_" + name)]
        if found := starts or ends:
            return max(found, key=len)
    raise ValueError(f"the runtime timed `{given[0]}`, which names no operation of the network")


def _ends(rest: str) -> bool:
    """Whether a name ends where this follows: `c4.1` is no part of `c4.10`."""
    return not rest or not (rest[0].isalnum() or rest[0] == "-")
