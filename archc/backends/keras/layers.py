"""The table from primitive operation to Keras layers.

Keras's own layers are used wherever they compute exactly what the operation says. Where an operation takes several, the
one with its weights, or the last, has its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from archc.backends.keras import layouts
from archc.backends.keras.initialise import Initial
from archc.backends.keras.layouts import Layouts
from archc.backends.keras.modules import (
    Attention,
    BatchNormalization,
    Fold,
    NormalizePixels,
    Pool2D,
    ResizeLike,
    ResizeToMultiple,
    SamePadding2D,
    Unfold,
)
from archc.backends.keras.runtime import keras
from archc.ir import ops
from archc.ir.ops import Shape

stock = keras.layers
Layer = Any
LAST = {"data_format": "channels_last"}
"""Stated everywhere: a user's `keras.json` may say otherwise."""


@dataclass(frozen=True)
class Site:
    """Where an operation stands: its layer's name, its inputs' shapes, and what produced the first of them.

    `seed` is for layers that draw numbers in training; None leaves them to Keras's global generator.
    """

    name: str
    inputs: Sequence[Shape]
    producer: ops.Op
    initial: Initial
    dtype: Any = None
    seed: int | None = None

    def own(self) -> dict[str, Any]:
        """Arguments of the layer that bears the operation's name."""
        return {"name": self.name, "dtype": self.dtype}

    def beside(self, suffix: str) -> dict[str, Any]:
        """Arguments of a layer that helps it."""
        return {"name": f"{self.name}_{suffix}", "dtype": self.dtype}


class Rule(NamedTuple):
    """What an operation becomes in Keras.

    `layers` gives the layers, to be applied in this order; the first takes all inputs, as a list if there are several.
    The one that holds the weights has the operation's name, and `layouts` says where in it each weight is.
    """

    layers: Callable[[Any, Site], Sequence[Layer]]
    layouts: Layouts = layouts.none


def layers(op: ops.Op, site: Site) -> Sequence[Layer]:
    """The layers for an operation."""
    return RULES[type(op)].layers(op, site)


def supports(op: ops.Op) -> bool:
    """Whether this backend can run an operation."""
    if isinstance(op, ops.Activation):
        return op.function in _ACTIVATIONS
    return type(op) in RULES


def _conv(op: ops.Conv, site: Site) -> Sequence[Layer]:
    before, padding = _padding(op, site)
    after: list[Layer] = []
    stride = op.stride
    if stride > 1 and op.dilation > 1:
        # Keras refuses both at once: every pixel is computed, and one of `stride` kept.
        after = [stock.MaxPooling2D(1, stride, **LAST, **site.beside("stride"))]
        stride = 1
    arguments = {
        "kernel_size": op.kernel, "strides": stride, "padding": padding, "dilation_rate": op.dilation,
        "use_bias": op.bias, "bias_initializer": site.initial("bias"), **LAST,
        **site.own(),
    }  # fmt: skip
    weight = site.initial("weight")
    if layouts.is_depthwise(op, site.inputs):
        multiplier = op.out // op.groups
        conv = stock.DepthwiseConv2D(depth_multiplier=multiplier, depthwise_initializer=weight, **arguments)
    else:
        conv = stock.Conv2D(op.out, groups=op.groups, kernel_initializer=weight, **arguments)
    return [*before, conv, *after]


def _padding(op: ops.Conv, site: Site) -> tuple[list[Layer], str]:
    """The layers before a convolution, and Keras's name for the padding that is left to it."""
    if op.padding == "valid":
        return [], "valid"
    if op.padding == "same":
        if op.stride == 1 or op.dilation == 1:
            return [], "same"
        return [SamePadding2D(op.kernel, op.stride, op.dilation, **site.beside("pad"))], "valid"
    pads = ops.pads_symmetric(op.kernel, op.dilation)
    if pads == (0, 0):
        return [], "valid"
    if op.stride == 1 and all(window % 2 for window in op.kernel):
        return [], "same"  # the same pixels there
    return [stock.ZeroPadding2D(pads, **LAST, **site.beside("pad"))], "valid"


def _pool(op: ops.Pool, site: Site) -> Sequence[Layer]:
    plain = {"pool_size": op.kernel, "strides": op.stride, "padding": "valid", **LAST, **site.own()}
    keras_pool = stock.MaxPooling2D if op.function == "max" else stock.AveragePooling2D
    pads = (0, 0) if op.padding == "valid" else ops.pads_symmetric(op.kernel)
    if op.padding != "same":
        if pads == (0, 0):
            return [keras_pool(**plain)]
        # Zeros never win against values that are not negative.
        zeros_do = op.count_padding if op.function == "avg" else _never_negative(site.producer)
        if zeros_do:
            return [stock.ZeroPadding2D(pads, **LAST, **site.beside("pad")), keras_pool(**plain)]
    elif op.function == "max":
        return [keras_pool(**{**plain, "padding": "same"})]
    padding: Literal["same"] | ops.Pair = "same" if op.padding == "same" else pads
    return [Pool2D(op.function, op.kernel, op.stride, padding, op.count_padding, **site.own())]


def _never_negative(op: ops.Op) -> bool:
    return isinstance(op, ops.Activation) and op.function in ("relu", "relu6", "sigmoid", "hardsigmoid")


def _batch_norm(op: ops.BatchNorm, site: Site) -> Sequence[Layer]:
    arguments = {
        "momentum": 1 - op.momentum,
        "epsilon": op.eps,
        "gamma_initializer": site.initial("weight"),
        "beta_initializer": site.initial("bias"),
        "moving_mean_initializer": site.initial("running_mean"),
        "moving_variance_initializer": site.initial("running_var"),
        **site.own(),
    }
    if op.frozen:
        return [stock.BatchNormalization(trainable=False, **arguments)]  # Keras's way to say just this
    return [BatchNormalization(**arguments)]


def _linear(op: ops.Linear, site: Site) -> Sequence[Layer]:
    return [
        stock.Dense(
            op.out,
            use_bias=op.bias,
            kernel_initializer=site.initial("weight"),
            bias_initializer=site.initial("bias"),
            **site.own(),
        )
    ]


_ACTIVATIONS = {
    "relu": "relu", "relu6": "relu6", "hardswish": "hard_swish", "hardsigmoid": "hard_sigmoid", "sigmoid": "sigmoid",
    "silu": "silu", "gelu": "gelu", "tanh": "tanh", "elu": "elu", "mish": "mish", "leaky_relu": "",
}  # fmt: skip


def _activation(op: ops.Activation, site: Site) -> Sequence[Layer]:
    if op.function == "leaky_relu":
        return [stock.LeakyReLU(negative_slope=0.01, **site.own())]  # Keras's default slope is another
    return [stock.Activation(_ACTIVATIONS[op.function], **site.own())]


def _flatten(op: ops.Flatten, site: Site) -> Sequence[Layer]:
    image = site.inputs[0]
    if image[1:] == (1, 1):
        return [stock.Flatten(**LAST, **site.own())]
    return [stock.Permute((3, 1, 2), **site.beside("permute")), stock.Flatten(**LAST, **site.own())]


def _dropout(op: ops.Dropout, site: Site) -> Sequence[Layer]:
    if op.whole_channels:
        return [stock.SpatialDropout2D(op.rate, seed=site.seed, **LAST, **site.own())]
    return [stock.Dropout(op.rate, seed=site.seed, **site.own())]


def _drop_path(op: ops.DropPath, site: Site) -> Sequence[Layer]:
    # Dropout of one decision per image.
    return [stock.Dropout(op.rate, noise_shape=(None, *(1 for _ in site.inputs[0])), seed=site.seed, **site.own())]


def _layer_norm(op: ops.LayerNorm, site: Site) -> Sequence[Layer]:
    starts = {"gamma_initializer": site.initial("weight"), "beta_initializer": site.initial("bias")}
    return [stock.LayerNormalization(epsilon=op.eps, **starts, **site.own())]


def _merge(kind: Callable[..., Layer], **arguments: Any) -> Rule:
    def made(op: ops.Op, site: Site) -> Sequence[Layer]:
        return [(kind(**arguments, **site.own())) if len(site.inputs) > 1 else stock.Identity(**site.own())]

    return Rule(made)


def _global_pool(op: ops.GlobalPool, site: Site) -> Sequence[Layer]:
    return [stock.GlobalAveragePooling2D(keepdims=True, **LAST, **site.own())]


RULES: dict[type[ops.Op], Rule] = {
    ops.Conv: Rule(_conv, layouts.conv),
    ops.Linear: Rule(_linear, layouts.linear),
    ops.BatchNorm: Rule(_batch_norm, layouts.norm),
    ops.LayerNorm: Rule(_layer_norm, layouts.norm),
    ops.Activation: Rule(_activation),
    ops.Add: _merge(stock.Add),
    ops.Gate: _merge(stock.Multiply),
    ops.Concat: _merge(stock.Concatenate, axis=-1),
    ops.Normalize: Rule(lambda op, site: [NormalizePixels(op.mean, op.scale, op.reverse, **site.own())]),
    ops.Pool: Rule(_pool),
    ops.GlobalPool: Rule(_global_pool),
    ops.Flatten: Rule(_flatten),
    ops.Dropout: Rule(_dropout),
    ops.DropPath: Rule(_drop_path),
    ops.Resize: Rule(lambda op, site: [ResizeLike(op.mode, **site.own())]),
    ops.ResizeToMultiple: Rule(lambda op, site: [ResizeToMultiple(op.multiple, **site.own())]),
    ops.Unfold: Rule(lambda op, site: [Unfold(op.patch, **site.own())]),
    ops.Fold: Rule(lambda op, site: [Fold(op.patch, **site.own())]),
    ops.Attention: Rule(lambda op, site: [Attention(op.heads, op.dropout, site.seed, **site.own())]),
}
"""The rule of every operation. Users add the rules of their own operations."""
