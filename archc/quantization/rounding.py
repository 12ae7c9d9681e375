"""Kernels rounded to integers so that a layer's results change least, rather than each number by itself.

Columns are rounded one after the other. What a column loses is made up for by the columns that are not rounded yet, as
well as the layer's inputs allow.

E. Frantar, S. Ashkboos, T. Hoefler, D. Alistarh: GPTQ, ICLR 2023, arXiv:2210.17323.

Kernels here are [groups, outputs, inputs] of one group each; statistics are [groups, inputs, inputs].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from archc.ir.quantization import HIGHEST

DAMPING = 0.01
"""What is added to the inputs' variances, as a share of their mean: the fewer the samples, the more it holds back."""

_SHRUNK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
"""The shares of a channel's largest number that are tried as the largest integer."""


class Statistics(NamedTuple):
    """How the int8 inputs of a layer vary: their covariance, from so many samples."""

    variance: Tensor
    samples: int


def statistics(inputs: Tensor) -> Statistics:
    """The statistics of inputs [groups, samples, inputs]."""
    centred = inputs - inputs.mean(1, keepdim=True)
    count = centred.shape[1]
    return Statistics((centred.transpose(1, 2) @ centred / count).double(), count)


def damped(found: Statistics) -> Tensor:
    """The covariance with something added to its diagonal."""
    diagonal = found.variance.diagonal(dim1=1, dim2=2)
    size = diagonal.shape[1]
    share = DAMPING * max(1.0, size / found.samples)
    added = (share * diagonal.mean(1)).clamp(min=1e-12)
    return found.variance + torch.diag_embed(added[:, None].expand(-1, size))


def best_scales(kernel: Tensor, found: Statistics) -> Tensor:
    """The scale of every output channel [groups, outputs]: a kernel's few largest numbers may be cut."""
    largest = kernel.abs().amax(2)
    importance = found.variance.diagonal(dim1=1, dim2=2)[:, None]
    best = torch.full_like(largest, torch.inf)
    chosen = torch.ones_like(largest)
    for share in _SHRUNK:
        scales = torch.where(largest > 0, largest * share / HIGHEST, 1.0)
        error = (importance * (_nearest(kernel, scales[..., None]) - kernel) ** 2).sum(2)
        better = error < best
        best, chosen = torch.where(better, error, best), torch.where(better, scales, chosen)
    return chosen


def round_kernel(kernel: Tensor, scales: Tensor, found: Statistics) -> Tensor:
    """The kernel as multiples of the scales."""
    variance = damped(found)
    order = variance.diagonal(dim1=1, dim2=2).sum(0).argsort(descending=True)
    variance = variance[:, order][:, :, order]
    left = kernel[:, :, order].clone()
    inverse = torch.linalg.inv(variance)
    upper = torch.linalg.cholesky((inverse + inverse.transpose(1, 2)) / 2).transpose(1, 2)
    rounded = torch.empty_like(left)
    for column in range(left.shape[2]):
        numbers = left[:, :, column]
        rounded[:, :, column] = _nearest(numbers, scales)
        lost = (numbers - rounded[:, :, column]) / upper[:, column, column][:, None]
        left[:, :, column:] -= lost[..., None] * upper[:, None, column, column:]
    return rounded[:, :, order.argsort()]


def _nearest(numbers: Tensor, scales: Tensor) -> Tensor:
    return (numbers / scales).round().clamp(-HIGHEST, HIGHEST) * scales
