"""Spec to Spec: what happens to a spec between loading and lowering, in a fixed order.

Each pass is a pure function in its own file, does one thing, and leaves a spec that says the same network with
that thing done: after `scale_width`, say, every count is scaled and `width_mult` is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from archc.language.schema import Spec
from archc.passes.atrous import atrous
from archc.passes.drop_path import drop_path
from archc.passes.heads import heads
from archc.passes.reduce_tail import reduce_tail
from archc.passes.repeat import repeat
from archc.passes.scale_width import scale_width

PASSES: dict[str, Callable[[Spec], Spec]] = {
    "heads": heads,
    "repeat": repeat,
    "reduce_tail": reduce_tail,
    "atrous": atrous,
    "scale_width": scale_width,
    "drop_path": drop_path,
}


def run(spec: Spec, after: str | None = None) -> Spec:
    """The spec after all passes, or after the named one.

    Raises:
        SpecError: a reference that does not resolve, or a rewrite that the spec does not allow.
        KeyError: no pass is called `after`.
    """
    if after is not None and after not in PASSES:
        raise KeyError(after)
    done = dict(steps(spec, after))
    return done[next(reversed(done))]


def steps(spec: Spec, until: str | None = None) -> Iterator[tuple[str, Spec]]:
    """The spec after every pass up to the named one, or after all, with the pass's name.

    Raises:
        SpecError: as `run`.
    """
    for name, rewrite in PASSES.items():
        spec = rewrite(spec)
        yield name, spec
        if name == until:
            return


__all__ = ["PASSES", "run", "steps"]
