"""What goes wrong with a checkpoint, as Python users catch it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from archc.document.diagnostics import Diagnostic, SpecWarning, visible


class WeightsError(ValueError):
    """A checkpoint that cannot be read, or does not fit; `.diagnostics` says why, and the model is untouched."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__("\n".join("\n  ".join((str(d), *map(visible, d.notes))) for d in self.diagnostics))

    def __reduce__(self) -> tuple[type[WeightsError], tuple[tuple[Diagnostic, ...]]]:
        return type(self), (self.diagnostics,)


class WeightsWarning(SpecWarning):
    """Weights that fit, though the network is probably not the one that they were trained in."""


def refuse(id: str, message: str, *, help: str = "", notes: Sequence[str] = ()) -> WeightsError:
    """A `WeightsError` of one diagnostic, to be raised by the caller."""
    return WeightsError([Diagnostic(id, message, notes=tuple(notes), help=help)])
