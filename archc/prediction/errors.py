"""Errors of predictions. Each carries its diagnostic."""

from __future__ import annotations

from archc.document.diagnostics import Diagnostic


class PredictionError(ValueError):
    """A network, an option or an image path that cannot be used for predictions; `.diagnostics` says why."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostics = (diagnostic,)
        super().__init__(str(diagnostic))

    @property
    def diagnostic(self) -> Diagnostic:
        """The one problem."""
        return self.diagnostics[0]

    def __reduce__(self) -> tuple[type[PredictionError], tuple[Diagnostic]]:
        return type(self), (self.diagnostic,)


class ImageError(PredictionError):
    """One image that cannot be used. It is skipped; the others are not."""


class PredictionWarning(UserWarning):
    """Something that works, though perhaps not as it was meant."""
