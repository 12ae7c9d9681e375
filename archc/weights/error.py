"""The error and the warning about checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from archc.document.diagnostics import Diagnostic, SpecWarning, visible


class WeightsError(ValueError):
    """A checkpoint that cannot be read or does not fit, or a file that cannot be written.

    `.diagnostics` says why. The model is untouched.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__("\n".join("\n  ".join((str(d), *map(visible, d.notes))) for d in self.diagnostics))

    def __reduce__(self) -> tuple[type[WeightsError], tuple[tuple[Diagnostic, ...]]]:
        return type(self), (self.diagnostics,)


class WeightsWarning(SpecWarning):
    """Weights that fit, but were probably trained in another network, or are nan or inf."""


def refuse(id: str, message: str, *, help: str = "", notes: Sequence[str] = ()) -> WeightsError:
    """A `WeightsError` of one diagnostic, to be raised by the caller."""
    return WeightsError([Diagnostic(id, message, notes=tuple(notes), help=help)])
