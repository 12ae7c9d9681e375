"""What keeps a task from its result; every error carries its diagnostic."""

from __future__ import annotations

from archc.document.diagnostics import Diagnostic


class TaskError(ValueError):
    """A network or a setting that the task cannot be done with; `.diagnostics` says why."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostics = (diagnostic,)
        super().__init__(str(diagnostic))

    @property
    def diagnostic(self) -> Diagnostic:
        """The one problem."""
        return self.diagnostics[0]

    def __reduce__(self) -> tuple[type[TaskError], tuple[Diagnostic]]:
        return type(self), (self.diagnostic,)


class ImageError(TaskError):
    """One picture that cannot be used; others can."""
