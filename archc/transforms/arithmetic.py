"""The arithmetic of convolutions and norms that become one, in float64. NumPy is imported only when it is used."""

from __future__ import annotations

from collections.abc import Mapping

from archc.ir.ops import BatchNorm, Pair
from archc.ir.state import Array


def affine(op: BatchNorm, weights: Mapping[str, Array]) -> tuple[Array, Array]:
    """A batch normalisation in evaluation mode as `x · scale + shift`, each of shape (channels,).

    With `eps` 0, a channel whose variance is 0 has no finite numbers, before the transform as after it.
    """
    import numpy as np

    weight, bias, mean, variance = (
        weights[name].astype(np.float64) for name in ("weight", "bias", "running_mean", "running_var")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = weight / np.sqrt(variance + op.eps)
        return scale, bias - mean * scale


def normalised(kernel: Array, bias: Array, op: BatchNorm, weights: Mapping[str, Array]) -> tuple[Array, Array]:
    """The kernel (out, …) and bias (out,) of a convolution or linear layer that does a norm's work, too."""
    import numpy as np

    scale, shift = affine(op, weights)
    with np.errstate(invalid="ignore"):
        return kernel * scale.reshape(-1, *[1] * (kernel.ndim - 1)), bias * scale + shift


def kernel_and_bias(weights: Mapping[str, Array]) -> tuple[Array, Array]:
    """A layer's kernel and bias in float64; zeros where it has no bias."""
    import numpy as np

    kernel = weights["weight"].astype(np.float64)
    return kernel, weights["bias"].astype(np.float64) if "bias" in weights else np.zeros(kernel.shape[0])


def centred(kernel: Array, size: Pair) -> Array:
    """A kernel (out, in, h, w) with zeros around it, up to `size`; odd sizes in the middle of odd ones."""
    import numpy as np

    pads = [(size[axis] - kernel.shape[2 + axis]) // 2 for axis in (0, 1)]
    return np.pad(kernel, ((0, 0), (0, 0), *((pad, pad) for pad in pads)))


def identity_kernel(channels: int, groups: int) -> Array:
    """The 1×1 kernel (channels, channels / groups, 1, 1) of a convolution that changes nothing."""
    import numpy as np

    per_group = channels // groups
    return np.tile(np.eye(per_group), (groups, 1)).reshape(channels, per_group, 1, 1)
