"""The seam between tasks and libraries: a network as a function from prepared pictures to scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from archc.document.diagnostics import Diagnostic
from archc.prediction.errors import TaskError

Scores = Callable[[torch.Tensor], torch.Tensor]
"""Prepared pictures, N × channels × height × width, to the scores (logits) of every class: N × classes, or for a mask
N × classes × height × width of any size. Both are 32-bit floats on the CPU. It is all that classification and
segmentation ask of a network, so that one of any library can stand in."""

Boxes = Callable[[list[torch.Tensor]], list[Mapping[str, torch.Tensor]]]
"""Pictures in [0, 1], each channels × height × width, to what torchvision's detectors return for each: `boxes` (N × 4,
the corners x1, y1, x2, y2 in the picture's pixels), `labels` and `scores` (N), on the CPU."""


class TorchScores:
    """A torch module as `Scores`. It is moved to the device and put in evaluation mode.

    `output` is the key of the scores where the module returns a mapping.
    """

    def __init__(self, module: nn.Module, device: torch.device | str = "cpu", output: str | None = None) -> None:
        self.module = module.to(device).eval()
        self.device = torch.device(device)
        self.output = output

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """The scores of a batch."""
        with torch.inference_mode():
            found: Any = self.module(pictures.to(self.device))
            scores: torch.Tensor = found if self.output is None else found[self.output]
            return scores.float().cpu()


class KerasScores:
    """A Keras model, channels last, as `Scores`, on the device that it was built on.

    `output` is the key of the scores where the model returns a mapping.
    """

    def __init__(self, model: Any, device: str = "cpu", output: str | None = None) -> None:
        self.model, self.device, self.output = model, device, output

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """The scores of a batch."""
        from archc.backends.keras import on_device, run

        with on_device(self.device):
            found = run(self.model, pictures.permute(0, 2, 3, 1).contiguous().numpy(), self.output)
        scores = torch.tensor(found.astype("float32"))
        return scores.permute(0, 3, 1, 2) if scores.ndim == 4 else scores


class TorchBoxes:
    """A detector of torchvision's kind as `Boxes`. It is moved to the device and put in evaluation mode.

    Raises:
        TaskError: a weight is nan or infinite; the detector would find nothing, and say nothing.
    """

    def __init__(self, module: nn.Module, device: torch.device | str = "cpu") -> None:
        for name, value in module.state_dict().items():
            if not value.isfinite().all():
                raise TaskError(Diagnostic("not-finite", f"the weights hold nan or inf: `{name}`"))
        self.module = module.to(device).eval()
        self.device = torch.device(device)

    def __call__(self, pictures: list[torch.Tensor]) -> list[Mapping[str, torch.Tensor]]:
        """The boxes in every picture."""
        with torch.inference_mode():
            found = self.module([picture.to(self.device) for picture in pictures])
            return [{name: value.cpu() for name, value in one.items()} for one in found]
