"""Networks of any library as functions from prepared images to scores: all that tasks ask of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from archc.document.diagnostics import Diagnostic
from archc.prediction.errors import PredictionError
from archc.runtimes.protocol import CannotRunError, Session, filled

Scores = Callable[[torch.Tensor], torch.Tensor]
"""Prepared images, N × channels × height × width, to the scores (logits) of every class: N × classes, or for a mask
N × classes × height × width of any size. Both are 32-bit floats on the CPU."""

Boxes = Callable[[list[torch.Tensor]], list[Mapping[str, torch.Tensor]]]
"""Images with values from 0 to 1, each channels × height × width, to what torchvision's detectors return for each:
`boxes` (N × 4, the corners x1, y1, x2, y2 in the image's pixels), `labels` and `scores` (N), on the CPU."""


class TorchScores:
    """A torch module as `Scores`. The module is moved to the device and put in evaluation mode.

    `output` is the key of the scores where the module returns a mapping.
    """

    def __init__(self, module: nn.Module, device: torch.device | str = "cpu", output: str | None = None) -> None:
        self.module = module.to(device).eval()
        self.device = torch.device(device)
        self.dtype = _dtype(module)
        self.output = output

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """The scores of a batch."""
        with torch.inference_mode():
            found: Any = self.module(images.to(self.device, self.dtype))
            scores: torch.Tensor = found if self.output is None else found[self.output]
            return scores.float().cpu()


class KerasScores:
    """A Keras model, channels last, as `Scores`. It runs on `device`; None leaves the device to Keras.

    `output` is the key of the scores where the model returns a mapping.
    """

    def __init__(self, model: Any, device: str | None = "cpu", output: str | None = None) -> None:
        self.model, self.device, self.output = model, device, output

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """The scores of a batch."""
        from archc.backends.keras import on_device, run

        with nullcontext() if self.device is None else on_device(self.device):
            found = run(self.model, images.permute(0, 2, 3, 1).contiguous().numpy(), self.output)
        scores = torch.tensor(found.astype("float32"))
        return scores.permute(0, 3, 1, 2) if scores.ndim == 4 else scores


class FileScores:
    """An exported file as `Scores`, by its runtime. `output` is the name of the scores.

    A file that takes pixels gets images with values from 0 to 1 as `uint8`. A file for a fixed number of images gets
    the last one several times, to fill it.
    """

    def __init__(self, session: Session, output: str) -> None:
        self.session, self.output = session, output

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """The scores of a batch.

        Raises:
            PredictionError: this system cannot run such files.
        """
        given = images.numpy()
        if self.session.input.dtype == "uint8":
            given = np.round(given * 255).astype(np.uint8)
        size = self.session.input.shape[0] or len(given)
        try:
            found = [self.session.run(batch)[self.output][:own] for batch, own in filled(given, size)]
        except CannotRunError as error:
            raise PredictionError(Diagnostic("no-device", f"the file cannot be run here: {error}")) from None
        return torch.from_numpy(np.concatenate(found))


class TorchBoxes:
    """A detector of torchvision's kind as `Boxes`. The module is moved to the device and put in evaluation mode.

    Raises:
        PredictionError: a weight is nan or infinite. The detector would find nothing, without an error.
    """

    def __init__(self, module: nn.Module, device: torch.device | str = "cpu") -> None:
        for name, value in module.state_dict().items():
            if not value.isfinite().all():
                raise PredictionError(Diagnostic("not-finite", f"the weights hold nan or inf: `{name}`"))
        self.module = module.to(device).eval()
        self.device = torch.device(device)
        self.dtype = _dtype(module)

    def __call__(self, images: list[torch.Tensor]) -> list[Mapping[str, torch.Tensor]]:
        """The boxes in each image."""
        with torch.inference_mode():
            found = self.module([image.to(self.device, self.dtype) for image in images])
            return [{name: value.cpu() for name, value in one.items()} for one in found]


def _dtype(module: nn.Module) -> torch.dtype:
    """The type of a module's weights, in which it takes images."""
    return next((value.dtype for value in module.parameters() if value.is_floating_point()), torch.float32)
