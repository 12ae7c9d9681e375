"""The networks that a benchmark is asked for: specs, sweeps of them, and trained networks."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from archc.blocks import REGISTRY
from archc.document.overrides import parse
from archc.exporting.network import Network, open_network
from archc.language.load import sweep
from archc.weights.naming.schemes import AUTO


def networks(
    sources: Sequence[Any],
    *,
    overrides: Sequence[str] = (),
    weights: str | PathLike[str] | None = None,
    seed: int | None = None,
    source: str = AUTO,
    allow: str | Sequence[str] = (),
) -> dict[str, Network]:
    """Networks by the names that tell them apart; of a sweep, one for every combination.

    Args:
        sources: what `open_network` takes.
        overrides: of every spec among them; they may have several values.
        weights: a checkpoint of the one spec.
        seed: initial weights of this seed; where nothing states weights, those of seed 0.
        source: whose names the checkpoint has.
        allow: `archc.load`'s.

    Raises:
        ValueError: weights for several networks.
        SpecError, PredictionError, WeightsError: as `open_network`.
    """
    swept = any(override.swept for override in parse(overrides))
    if weights is not None and (len(sources) > 1 or swept):
        raise ValueError("`weights` are those of one network: name one spec, without a sweep")
    found: dict[str, Network] = {}
    for given in sources:
        if swept:
            _check_spec(given)
            for chosen, spec in sweep(given, overrides, blocks=REGISTRY.allowing(allow)):
                _add(found, (spec.name, *[override.text for override in chosen]), open_network(spec, seed=seed or 0))
            continue
        drawn = seed
        if seed is None and weights is None and not _trained(given):
            drawn = 0
        opened = open_network(given, weights=weights, seed=drawn, source=source, overrides=overrides, allow=allow)
        _add(found, (opened.graph.name, *overrides), opened)
    return found


def _add(found: dict[str, Network], words: Sequence[str], network: Network) -> None:
    name = unique = " ".join(words)
    number = 2
    while unique in found:
        unique, number = f"{name} ({number})", number + 1
    found[unique] = network


def _trained(given: Any) -> bool:
    """Whether a network comes with its weights."""
    if not isinstance(given, str | PathLike):
        from archc.backends import of

        return of(given) is not None
    path = Path(fspath(given))
    return path.is_dir() or path.suffix in (".safetensors", ".keras")


def _check_spec(given: Any) -> None:
    if _trained(given):
        raise ValueError("a sweep needs specs: a trained network has the settings that its weights were made for")
