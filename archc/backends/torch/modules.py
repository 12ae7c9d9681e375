"""The few modules that torch lacks.

Images are [batch, channels, height, width]; tokens are [batch·positions, length, channels], the batch slowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own name for it)
from torch import Tensor, nn

from archc.ir.ops import pads_same


def _same_padding(x: Tensor, kernel: Sequence[int], stride: int, dilation: int) -> list[int]:
    """TensorFlow's padding for this input, the last axis first."""
    (height, width), (high, wide) = x.shape[-2:], kernel
    return [*pads_same(width, wide, stride, dilation), *pads_same(height, high, stride, dilation)]


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow does: by an amount that depends on the input's size."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)]."""
        pads = _same_padding(input, self.kernel_size, self.stride[0], self.dilation[0])
        return super().forward(F.pad(input, pads))


class SamePool2d(nn.Module):
    """A pool padded as TensorFlow does. An average counts the padding only with `count_padding`."""

    def __init__(self, function: str, kernel: tuple[int, int], stride: int, count_padding: bool) -> None:
        super().__init__()
        self.function, self.kernel, self.stride, self.count_padding = function, kernel, stride, count_padding

    def extra_repr(self) -> str:
        return f"{self.function}, kernel={self.kernel}, stride={self.stride}, count_padding={self.count_padding}"

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, ceil(H/stride), ceil(W/stride)]."""
        pads = _same_padding(x, self.kernel, self.stride, 1)
        if self.function == "max":
            return F.max_pool2d(F.pad(x, pads, value=-torch.inf), self.kernel, self.stride)
        mean = F.avg_pool2d(F.pad(x, pads), self.kernel, self.stride)
        if self.count_padding:
            return mean
        return mean / F.avg_pool2d(F.pad(torch.ones_like(x[:1, :1]), pads), self.kernel, self.stride)


class NormalizePixels(nn.Module):
    """Pixels from 0 to 255 as `(x - mean) · scale`; with `reverse`, the channels in reverse order first."""

    def __init__(self, mean: Sequence[float], scale: Sequence[float], reverse: bool, **factory: Any) -> None:
        super().__init__()
        self.mean, self.scale, self.reverse = tuple(mean), tuple(scale), reverse
        self.typed: Tensor
        # It holds no numbers. It has the type of the network's weights, and changes with them.
        self.register_buffer("typed", torch.empty(0, **factory), persistent=False)

    def extra_repr(self) -> str:
        return f"mean={self.mean}, scale={self.scale}, reverse={self.reverse}"

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] of any type to the same in the type of the weights."""
        x = (x.flip(1) if self.reverse else x).to(self.typed.dtype) - self._constant(self.mean, x)
        return x if set(self.scale) == {1.0} else x * self._constant(self.scale, x)

    def _constant(self, values: tuple[float, ...], x: Tensor) -> Tensor:
        return torch.tensor(values, dtype=self.typed.dtype, device=x.device).view(1, -1, 1, 1)


@cache
def frozen_batch_norm() -> type[nn.Module]:
    """The frozen batch normalisation of torchvision, imported when a network has one.

    Its class rather than one like it: code that looks for frozen norms, torchvision's own included, looks for it.

    Raises:
        ModuleNotFoundError: torchvision is not installed; the message says what to install.
    """
    try:
        from torchvision.ops import FrozenBatchNorm2d
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "torchvision":
            raise
        needed = "frozen batch normalisation is torchvision's: pip install 'archc[detection]'"
        raise ModuleNotFoundError(needed, name=error.name) from None
    frozen: type[nn.Module] = FrozenBatchNorm2d
    return frozen


class DropPath(nn.Module):
    """Stochastic depth: while training, zero the whole branch of an image with probability `rate`, scale the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, batch first."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty([x.shape[0]] + [1] * (x.ndim - 1)).bernoulli_(keep)
        return x * mask.div_(keep)


class ResizeLike(nn.Module):
    """Interpolate to the height and width of another tensor; a tensor of that size stays as it is."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def extra_repr(self) -> str:
        return self.mode

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """[B, C, h, w] and [B, _, H, W] to [B, C, H, W]."""
        return _interpolate(x, like.shape[-2], like.shape[-1], self.mode)


class ResizeToMultiple(nn.Module):
    """Interpolate bilinearly up to the next multiple of a size; an image of such a size stays as it is."""

    def __init__(self, multiple: tuple[int, int]) -> None:
        super().__init__()
        self.multiple = multiple

    def extra_repr(self) -> str:
        return f"{self.multiple[0]}×{self.multiple[1]}"

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, H', W']."""
        mh, mw = self.multiple
        return _interpolate(x, -(-x.shape[-2] // mh) * mh, -(-x.shape[-1] // mw) * mw, "bilinear")


def _interpolate(x: Tensor, height: int, width: int, mode: str) -> Tensor:
    if x.shape[-2] == height and x.shape[-1] == width:
        return x
    align = False if mode == "bilinear" else None
    return F.interpolate(x, size=(height, width), mode=mode, align_corners=align)


class Unfold(nn.Module):
    """An image as sequences of patches, one sequence per pixel position in the patch."""

    def __init__(self, patch: tuple[int, int]) -> None:
        super().__init__()
        self.patch = patch

    def extra_repr(self) -> str:
        return f"{self.patch[0]}×{self.patch[1]}"

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B·P, N, C]: P pixels in a patch, N patches."""
        (ph, pw), (batch, channels, height, width) = self.patch, x.shape
        rows, columns = height // ph, width // pw
        x = x.reshape(batch * channels * rows, ph, columns, pw).transpose(1, 2)
        x = x.reshape(batch, channels, rows * columns, ph * pw).transpose(1, 3)
        return x.reshape(batch * ph * pw, rows * columns, channels)


class Fold(nn.Module):
    """The inverse of `Unfold`."""

    def __init__(self, patch: tuple[int, int]) -> None:
        super().__init__()
        self.patch = patch

    def extra_repr(self) -> str:
        return f"{self.patch[0]}×{self.patch[1]}"

    def forward(self, tokens: Tensor, like: Tensor) -> Tensor:
        """[B·P, N, C] and an image [B, _, H, W] to [B, C, H, W]."""
        (ph, pw), (batch, _, height, width) = self.patch, like.shape
        rows, columns, channels = height // ph, width // pw, tokens.shape[-1]
        x = tokens.reshape(batch, ph * pw, rows * columns, channels).transpose(1, 3)
        x = x.reshape(batch * channels * rows, columns, ph, pw).transpose(1, 2)
        return x.reshape(batch, channels, height, width)


class Attention(nn.Module):
    """Scaled dot-product self-attention over joined queries, keys and values; it owns no weights."""

    def __init__(self, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout

    def extra_repr(self) -> str:
        return f"heads={self.heads}, dropout={self.dropout:g}"

    def forward(self, qkv: Tensor) -> Tensor:
        """[B, N, 3·D] to [B, N, D]."""
        batch, length, joined = qkv.shape
        split = qkv.reshape(batch, length, 3, self.heads, joined // 3 // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return y.transpose(1, 2).reshape(batch, length, joined // 3)
