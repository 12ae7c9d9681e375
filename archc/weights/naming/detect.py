"""Whose names a checkpoint has."""

from __future__ import annotations

from collections.abc import Iterable

from archc.weights.error import refuse
from archc.weights.naming.schemes import ARCHC, AUTO, Scheme, libraries, of_library
from archc.weights.naming.slots import Naming


def detect(names: Iterable[str], naming: Naming, source: str = AUTO, *, own: bool = False) -> Scheme | None:
    """The scheme that uses such names; None where they are archc's own.

    `own` says that the file states that archc wrote it under its own names.

    Raises:
        WeightsError: an unknown source, or names that no library uses, or not the one that was named.
    """
    names = list(names)
    candidates = of_library(source)
    if source == ARCHC or (source == AUTO and own):
        return None
    lines = "\n".join(names)
    signed = [scheme for scheme in candidates if scheme.signs(lines)]
    if len(signed) == 1:
        return signed[0]
    if signed:
        return max(signed, key=lambda scheme: (_known(naming, scheme, names), -candidates.index(scheme)))
    if source == AUTO and _known(naming, None, names):
        return None
    best = max(candidates, key=lambda scheme: _known(naming, scheme, names)) if source != AUTO else None
    if best is not None and _known(naming, best, names):
        return best
    first = ", ".join(f"`{name}`" for name in names[:3])
    whose = f"are not {source}'s" if source != AUTO else "are those of no library that archc knows"
    raise refuse(
        "weights-source",
        f"the checkpoint's names {whose}: {first}, …",
        help=f"the sources are {', '.join(libraries())}; rename the tensors to one of these first",
    )


def _known(naming: Naming, scheme: Scheme | None, names: list[str]) -> int:
    """How many of the names the network has under this scheme."""
    here = naming.names(scheme)
    return sum(name in here for name in names)
