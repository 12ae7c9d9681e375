"""The primitive operations: each one's shape rule, its weights and its cost.

Shapes are per image, without the batch: `Image`, `Tokens` or `Vector`. Every operation has one output.
Nothing here knows what a block is, or which library will run it.

An input that breaks a rule raises `ShapeError` with a short fact; whoever lowers a row adds the place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from archc.ir.initial import ONES, ZEROS, Distribution, constant, of_bias, of_weight
from archc.language.settings import Init

Pair = tuple[int, int]

MAX_SIZE = 10**16


def _same(shape: tuple[int, ...], other: object) -> bool:
    # A plain tuple has no kind, so that `output == (16, 112, 112)` says what it seems to.
    return type(other) in (type(shape), tuple) and tuple.__eq__(shape, other)


class Image(NamedTuple):  # noqa: PLW1641 (it keeps the hash of a tuple)
    """A feature map. Like every shape, it equals only shapes of its own kind: never tokens of the same numbers."""

    channels: int
    height: int
    width: int

    def __eq__(self, other: object) -> bool:
        return _same(self, other)

    def __ne__(self, other: object) -> bool:
        return not _same(self, other)


class Tokens(NamedTuple):  # noqa: PLW1641 (it keeps the hash of a tuple)
    """Sequences: attention runs along `length`, independently for each of the `positions` (pixels of a patch)."""

    positions: int
    length: int
    channels: int

    def __eq__(self, other: object) -> bool:
        return _same(self, other)

    def __ne__(self, other: object) -> bool:
        return not _same(self, other)


class Vector(NamedTuple):  # noqa: PLW1641 (it keeps the hash of a tuple)
    """One number per channel."""

    channels: int

    def __eq__(self, other: object) -> bool:
        return _same(self, other)

    def __ne__(self, other: object) -> bool:
        return not _same(self, other)


Shape = Image | Tokens | Vector


class ShapeError(ValueError):
    """An operation cannot take these inputs."""


class Weight(NamedTuple):
    """A tensor that an operation owns, in its canonical layout: output channels first.

    `initial` is the distribution that its first values are drawn from.
    """

    name: str
    shape: tuple[int, ...]
    trainable: bool = True
    initial: Distribution = ZEROS

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class Window(NamedTuple):
    """How far an operation sees along one axis."""

    kernel: Pair
    stride: int
    dilation: int


DEFAULT_INIT = Init()

KINDS: dict[str, type[Op]] = {}
"""Every operation by its `kind`: archc's own, and those that users define."""


@dataclass(frozen=True)
class Op:
    """Base of all operations. `kind` is its name in reports, in the printed graph and in its JSON form."""

    kind: ClassVar[str]
    fused: ClassVar[bool] = False
    """Elementwise on its first input, so a runtime computes it in place or as part of the producer."""
    sees_all: ClassVar[bool] = False
    """Every output position depends on every input position."""

    def __init_subclass__(cls) -> None:
        if "kind" not in vars(cls):
            return
        known = KINDS.setdefault(cls.kind, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"operation `{cls.kind}` exists already, as {known.__module__}.{known.__qualname__}")
        KINDS[cls.kind] = cls  # a notebook's cell may run again

    def infer(self, *inputs: Shape) -> Shape:
        """The output's shape.

        Raises:
            ShapeError: these inputs do not fit.
        """
        return inputs[0]

    def weights(self, *inputs: Shape, init: Init = DEFAULT_INIT) -> tuple[Weight, ...]:
        """The tensors the operation owns, for these input shapes; `init` says how they start."""
        return ()

    def macs(self, output: Shape, *inputs: Shape) -> int:
        """Multiply-accumulates for one image; no bias, normalisation or activation (DESIGN section 4)."""
        return 0

    @property
    def window(self) -> Window | None:
        """The spatial window, for operations that have one."""
        return None


class Cost(NamedTuple):
    """What one operation costs for one image."""

    params: int
    buffers: int
    macs: int

    @classmethod
    def total(cls, costs: Iterable[Cost]) -> Cost:
        """What several cost together."""
        return cls(*map(sum, zip(cls(0, 0, 0), *costs, strict=True)))


def infer(op: Op, inputs: tuple[Shape, ...]) -> Shape:
    """The output's shape, see `Op.infer`. Ratios and concatenations could grow for ever; here they end."""
    shape = op.infer(*inputs)
    if max(shape) > MAX_SIZE:
        raise ShapeError("the result is larger than any network's")
    return shape


def _image(shape: Shape, what: str) -> Image:
    if not isinstance(shape, Image):
        raise ShapeError(f"{what} needs an image (channels×height×width), not {_kind(shape)} {show(shape)}")
    return shape


def _tokens(shape: Shape, what: str) -> Tokens:
    if not isinstance(shape, Tokens):
        raise ShapeError(f"{what} needs tokens, not {_kind(shape)} {show(shape)}")
    return shape


def _kind(shape: Shape) -> str:
    return {Image: "an image", Tokens: "tokens", Vector: "a vector"}[type(shape)]


def show(shape: tuple[int, ...]) -> str:
    """`16×112×112`."""
    return "×".join(str(size) for size in shape)


@dataclass(frozen=True)
class Input(Op):
    """A value that comes from outside; its shape is its node's. `dtype` is that of its numbers.

    Pixels, `uint8`, are read by `Normalize` alone.
    """

    kind = "input"
    dtype: Literal["float32", "uint8"] = "float32"


@dataclass(frozen=True)
class Normalize(Op):
    """Pixels from 0 to 255 as the input that a network was trained on: `(x - mean) · scale`, per channel.

    `mean` is in units of pixels. With `reverse`, the channels are first put in reverse order, as for a network that
    takes BGR.
    """

    kind = "normalize"
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    reverse: bool = False

    def infer(self, *inputs: Shape) -> Shape:
        image = _image(inputs[0], "normalisation of pixels")
        if len(self.mean) != image.channels or len(self.scale) != image.channels:
            raise ShapeError(
                f"{len(self.mean)} means and {len(self.scale)} scales do not fit {image.channels} channels"
            )
        return image


PadMode = Literal["symmetric", "same", "valid"]


def _window_out(size: int, kernel: int, stride: int, dilation: int, padding: PadMode) -> int:
    if padding == "same":
        return -(-size // stride)
    reach = dilation * (kernel - 1)
    pad = pad_symmetric(kernel, dilation) if padding == "symmetric" else 0
    out = (size + 2 * pad - reach - 1) // stride + 1
    if out < 1 or size + 2 * pad <= reach:
        spread = f" (dilated by {dilation})" if dilation > 1 else ""
        raise ShapeError(f"a {kernel}-wide window{spread} does not fit into {size} pixels")
    return out


def pad_symmetric(kernel: int, dilation: int) -> int:
    """The padding on each side that keeps an odd kernel centred."""
    return (kernel - 1) // 2 * dilation


def pads_symmetric(kernel: Pair, dilation: int = 1) -> Pair:
    """The same by axis: above and below, left and right."""
    return pad_symmetric(kernel[0], dilation), pad_symmetric(kernel[1], dilation)


def pads_same(size: int, kernel: int, stride: int, dilation: int = 1) -> Pair:
    """TensorFlow's padding along one axis, before and after: the output is ceil(size / stride), the odd pixel's at the
    end.
    """
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def _weight_and_bias(shape: tuple[int, ...], initial: Distribution, bias: bool, init: Init) -> tuple[Weight, ...]:
    weight = Weight("weight", shape, True, initial)
    if not bias:
        return (weight,)
    return weight, Weight("bias", shape[:1], True, ZEROS if init.bias == "zeros" else of_bias(shape))


@dataclass(frozen=True)
class Conv(Op):
    """2-D convolution. `padding` is a rule, not a number: `same` depends on the size (TensorFlow's)."""

    kind = "conv"
    out: int
    kernel: Pair = (1, 1)
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    bias: bool = False
    padding: PadMode = "symmetric"

    def infer(self, *inputs: Shape) -> Shape:
        channels, *size = _image(inputs[0], "a convolution")
        if self.out < 1 or self.groups < 1:
            raise ShapeError(f"a convolution needs channels, not {self.out} of them in {self.groups} groups")
        if channels % self.groups or self.out % self.groups:
            raise ShapeError(f"{self.groups} groups do not divide {channels} input and {self.out} output channels")
        height, width = (
            _window_out(s, k, self.stride, self.dilation, self.padding) for s, k in zip(size, self.kernel, strict=True)
        )
        return Image(self.out, height, width)

    def weights(self, *inputs: Shape, init: Init = DEFAULT_INIT) -> tuple[Weight, ...]:
        shape = (self.out, inputs[0].channels // self.groups, *self.kernel)
        return _weight_and_bias(shape, of_weight(init.conv, shape, self.groups), self.bias, init)

    def macs(self, output: Shape, *inputs: Shape) -> int:
        return math.prod(output) * (inputs[0].channels // self.groups) * math.prod(self.kernel)

    @property
    def window(self) -> Window:
        return Window(self.kernel, self.stride, self.dilation)


@dataclass(frozen=True)
class Linear(Op):
    """A matrix product over the last axis (the channels)."""

    kind = "linear"
    out: int
    bias: bool = True

    def infer(self, *inputs: Shape) -> Shape:
        shape = inputs[0]
        if isinstance(shape, Image):
            raise ShapeError(f"a linear layer needs a vector or tokens, not an image {show(shape)}")
        return shape._replace(channels=self.out)

    def weights(self, *inputs: Shape, init: Init = DEFAULT_INIT) -> tuple[Weight, ...]:
        shape = (self.out, inputs[0].channels)
        return _weight_and_bias(shape, of_weight(init.linear, shape), self.bias, init)

    def macs(self, output: Shape, *inputs: Shape) -> int:
        return math.prod(output) * inputs[0].channels


@dataclass(frozen=True)
class BatchNorm(Op):
    """Batch normalisation over the channels. `momentum` is PyTorch's; `scale_init` is the weight's start.

    Training normalises by the batch's variance, divided by n, and gathers the unbiased one, divided by n - 1, into
    `running_var`: torch's rule, which the weights of the libraries here were trained by. Keras gathers the former.

    A `frozen` one normalises by its running numbers in training, too, and trains nothing.
    """

    kind = "batch_norm"
    fused = True
    eps: float
    momentum: float
    scale_init: float = 1.0
    frozen: bool = False

    def infer(self, *inputs: Shape) -> Shape:
        return _image(inputs[0], "batch normalisation")

    def weights(self, *inputs: Shape, init: Init = DEFAULT_INIT) -> tuple[Weight, ...]:
        shape = (inputs[0].channels,)
        return (
            Weight("weight", shape, not self.frozen, constant(self.scale_init)),
            Weight("bias", shape, not self.frozen, ZEROS),
            Weight("running_mean", shape, False, ZEROS),
            Weight("running_var", shape, False, ONES),
        )


@dataclass(frozen=True)
class LayerNorm(Op):
    """Layer normalisation over the last axis of tokens."""

    kind = "layer_norm"
    fused = True
    eps: float

    def infer(self, *inputs: Shape) -> Shape:
        if isinstance(inputs[0], Image):
            raise ShapeError(f"layer normalisation needs a vector or tokens, not an image {show(inputs[0])}")
        return inputs[0]

    def weights(self, *inputs: Shape, init: Init = DEFAULT_INIT) -> tuple[Weight, ...]:
        shape = (inputs[0].channels,)
        return (Weight("weight", shape, True, ONES), Weight("bias", shape, True, ZEROS))


@dataclass(frozen=True)
class Activation(Op):
    """An elementwise function, by its usual name."""

    kind = "activation"
    fused = True
    function: str


@dataclass(frozen=True)
class Add(Op):
    """The sum of inputs of one shape."""

    kind = "add"
    fused = True

    def infer(self, *inputs: Shape) -> Shape:
        if len(set(inputs)) != 1:
            raise ShapeError(f"cannot add {' and '.join(show(shape) for shape in inputs)}")
        return inputs[0]


@dataclass(frozen=True)
class Gate(Op):
    """An image (C, H, W) times one factor per channel (C, 1, 1)."""

    kind = "gate"
    fused = True

    def infer(self, *inputs: Shape) -> Shape:
        image, factors = _image(inputs[0], "a gate"), inputs[1]
        if factors != Image(image.channels, 1, 1):
            raise ShapeError(f"cannot gate {show(image)} by {show(factors)}")
        return image


@dataclass(frozen=True)
class Concat(Op):
    """Images of one size, joined along the channels."""

    kind = "concat"

    def infer(self, *inputs: Shape) -> Shape:
        sizes = {_image(shape, "concatenation")[1:] for shape in inputs}
        if len(sizes) != 1:
            raise ShapeError(f"cannot concatenate {' and '.join(show(shape) for shape in inputs)}")
        return _image(inputs[0], "concatenation")._replace(channels=sum(shape.channels for shape in inputs))


@dataclass(frozen=True)
class Pool(Op):
    """Windowed pooling. An average counts the padding's zeros only with `count_padding`."""

    kind = "pool"
    function: Literal["max", "avg"]
    kernel: Pair
    stride: int
    padding: PadMode = "symmetric"
    count_padding: bool = True

    def infer(self, *inputs: Shape) -> Shape:
        channels, *size = _image(inputs[0], "pooling")
        height, width = (
            _window_out(s, k, self.stride, 1, self.padding) for s, k in zip(size, self.kernel, strict=True)
        )
        return Image(channels, height, width)

    @property
    def window(self) -> Window:
        return Window(self.kernel, self.stride, 1)


@dataclass(frozen=True)
class GlobalPool(Op):
    """The mean over all positions: (C, H, W) to (C, 1, 1)."""

    kind = "global_pool"
    sees_all = True

    def infer(self, *inputs: Shape) -> Shape:
        return Image(_image(inputs[0], "global pooling").channels, 1, 1)


@dataclass(frozen=True)
class Flatten(Op):
    """An image as one vector, channels slowest."""

    kind = "flatten"
    fused = True

    def infer(self, *inputs: Shape) -> Shape:
        return Vector(math.prod(_image(inputs[0], "flattening")))


@dataclass(frozen=True)
class Dropout(Op):
    """Zero elements, or whole channels, at random while training."""

    kind = "dropout"
    fused = True
    rate: float
    whole_channels: bool = False


@dataclass(frozen=True)
class DropPath(Op):
    """Zero a whole image's branch at random while training (stochastic depth)."""

    kind = "drop_path"
    fused = True
    rate: float


Interpolation = Literal["nearest", "bilinear"]


@dataclass(frozen=True)
class Resize(Op):
    """An image interpolated to the height and width of its second input. Same size: unchanged.

    `bilinear` has half-pixel centres and extends the border; `nearest` takes pixel ⌊i · in / out⌋.
    """

    kind = "resize"
    mode: Interpolation = "bilinear"

    def infer(self, *inputs: Shape) -> Shape:
        image, like = (_image(shape, "resizing") for shape in inputs)
        return like._replace(channels=image.channels)


@dataclass(frozen=True)
class ResizeToMultiple(Op):
    """An image interpolated bilinearly up to the next multiple of `multiple`. Already one: unchanged."""

    kind = "resize_to_multiple"
    multiple: Pair

    def infer(self, *inputs: Shape) -> Shape:
        channels, height, width = _image(inputs[0], "resizing")
        mh, mw = self.multiple
        return Image(channels, -(-height // mh) * mh, -(-width // mw) * mw)


@dataclass(frozen=True)
class Unfold(Op):
    """Non-overlapping patches: (C, H, W) to tokens (P, N, C), one sequence of patches per pixel of the patch."""

    kind = "unfold"
    patch: Pair

    def infer(self, *inputs: Shape) -> Shape:
        channels, height, width = _image(inputs[0], "unfolding")
        ph, pw = self.patch
        if height % ph or width % pw:
            raise ShapeError(f"{ph}×{pw} patches do not tile {height}×{width}")
        return Tokens(ph * pw, (height // ph) * (width // pw), channels)


@dataclass(frozen=True)
class Fold(Op):
    """The inverse of `Unfold`; the second input tells the height and width."""

    kind = "fold"
    patch: Pair

    def infer(self, *inputs: Shape) -> Shape:
        tokens, like = _tokens(inputs[0], "folding"), _image(inputs[1], "folding")
        if tokens[:2] != Unfold(self.patch).infer(like)[:2]:
            raise ShapeError(f"tokens {show(tokens)} do not fold to {like.height}×{like.width}")
        return like._replace(channels=tokens.channels)


@dataclass(frozen=True)
class Attention(Op):
    """Scaled dot-product self-attention of (P, N, 3·D) tokens, queries, keys and values joined in this order."""

    kind = "attention"
    sees_all = True
    heads: int
    dropout: float = 0.0

    def infer(self, *inputs: Shape) -> Shape:
        tokens = _tokens(inputs[0], "attention")
        joined = tokens.channels
        if joined % 3 or joined // 3 % self.heads:
            raise ShapeError(f"{self.heads} heads do not divide {joined // 3} channels")
        return tokens._replace(channels=joined // 3)

    def macs(self, output: Shape, *inputs: Shape) -> int:
        return 2 * math.prod(output) * _tokens(output, "attention").length
