"""From the name of a trained network on the command line to its spec and its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archc.cli.output import show_diagnostics

if TYPE_CHECKING:
    from archc.language.schema import Spec


def find(source: str, overrides: Sequence[str], weights: Path | None = None) -> tuple[Spec, Path]:
    """The spec and the checkpoint of a network, as `archc.prediction.trained.find` finds them; warnings are shown.

    Raises:
        click.UsageError: a library that is not installed.
        PredictionError: there are no weights, or not the files that `archc build -o` writes.
        SpecError: as `archc.load`.
    """
    from archc.prediction import trained

    with named_if_missing():
        found = trained.find(source, overrides, weights)
    show_diagnostics(found.warnings)
    return found.spec, found.weights


@contextmanager
def named_if_missing() -> Iterator[None]:
    """Turn a library that is not installed into a usage error that names it.

    Raises:
        click.UsageError: with what to install.
    """
    from archc.prediction.errors import MissingLibraryError

    try:
        yield
    except MissingLibraryError as error:
        raise click.UsageError(str(error)) from None
