"""From the name of a trained network on the command line to its spec and its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archc.cli.arguments import allowed
from archc.cli.output import show_diagnostics

if TYPE_CHECKING:
    from archc.language.schema import Spec


def find(source: str, overrides: Sequence[str], weights: Path | None = None) -> tuple[Spec, Path]:
    """The spec and the checkpoint of a network, as `archc.prediction.trained.find` finds them; warnings are shown.

    Raises:
        PredictionError: there are no weights, or not the files that `archc build -o` writes.
        SpecError: as `archc.load`.
    """
    from archc.prediction import trained

    found = trained.find(source, overrides, weights, allow=allowed())
    show_diagnostics(found.warnings)
    return found.spec, found.weights
