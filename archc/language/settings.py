"""The settings groups of a spec, each a named policy where libraries silently differ.

Every model is frozen and refuses unknown keys.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from archc.document.diagnostics import did_you_mean, one_of
from archc.document.model import Settings
from archc.document.values import Anything, Expected, FrozenDict, Many, expect, reject
from archc.language.values import Activation, Positive, Probability, Ratio, Size


class Rounding(Settings):
    """How a scaled channel count becomes a whole one: the field's `make_divisible`.

    torchvision, timm, TensorFlow, Keras and ml-cvnets share `divisor: 8, min: 8, limit: 0.9`; others differ.
    """

    divisor: Positive = 8
    min: Positive | None = Field(None, description="never below this; default: the divisor")
    limit: Annotated[float, Field(ge=0, le=1)] = Field(0.9, description="never below this share of the exact value")

    def round(self, value: float) -> int:
        """The nearest multiple of `divisor` that respects `min` and `limit`."""
        floor = self.divisor if self.min is None else self.min
        rounded = max(floor, int(value + self.divisor / 2) // self.divisor * self.divisor)
        return rounded + self.divisor if rounded < self.limit * value else rounded


def _per_channel(value: object) -> object:
    if isinstance(value, list | tuple):
        return tuple(float(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in value)
    return value


PerChannel = Annotated[
    float | tuple[float, ...],
    BeforeValidator(_per_channel),
    Expected("a number, or a list of one per channel"),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]}),
]


class Input(Settings):
    """The input tensor's shape, and the preprocessing that turns an image into it.

    An image is resized so that its shorter side is `size / crop`, cropped in the centre to `size`, scaled to [0, 1],
    put in `channel_order`, and normalised by `mean` and `std`. A segmentation network takes the whole image, its
    shorter side `size`, and a detector resizes by its own settings: neither crops.
    """

    channels: Positive = 3
    size: Size = (224, 224)
    mean: PerChannel = Field((0.485, 0.456, 0.406), description="one number, or one per channel; default ImageNet's")
    std: PerChannel = Field((0.229, 0.224, 0.225), description="one number, or one per channel; default ImageNet's")
    crop: Annotated[float, Field(gt=0, le=1)] = Field(
        0.875, description="for a classifier: `size` / the shorter side of the resized image before the crop"
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    channel_order: Literal["rgb", "bgr"] = "rgb"

    @model_validator(mode="after")
    def _statistics_fit(self) -> Input:
        for name in ("mean", "std"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.channels:
                values = f"{len(value)} value{'s' * (len(value) != 1)}"
                channels = f"{self.channels} channel{'s' * (self.channels != 1)}"
                one = (
                    "give one number" if self.channels == 1 else f"give one number for all, or {self.channels} of them"
                )
                if name in self.model_fields_set:
                    reject(f"`input.{name}` has {values} for {channels}", one, at=(name,))
                reject(f"`input.{name}` is needed for {channels}: its default, ImageNet's, has {values}", one)
        if min(self.std if isinstance(self.std, tuple) else (self.std,)) <= 0:
            reject("`input.std` must be positive", "the input is divided by it", at=("std",))
        return self


NormKind = Literal["batch", "frozen_batch", "none"]


class Norm(Settings):
    """Normalisation after convolutions.

    `frozen_batch` normalises by fixed numbers and trains nothing: detectors have it where batches are too small for
    statistics. `momentum` is PyTorch's, the weight of the new batch; TensorFlow's is 1 minus that.
    """

    kind: NormKind = "batch"
    eps: Annotated[float, Field(ge=0, le=1, description="0 for `frozen_batch` only")] = 1e-5
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _no_division_by_zero(self) -> Norm:
        # A row's `kind` may be the spec's, which is not known here, so a row with `eps: 0` has to state its `kind`.
        if self.eps == 0 and self.kind != "frozen_batch":
            reject(
                "`eps` must be greater than 0, not `0`: a channel may have no variance",
                "only `kind: frozen_batch`, stated beside it, takes 0",
                at=("eps",),
            )
        return self


class Squeeze(Settings):
    """Squeeze-and-excitation (Hu et al. 2018): pool, reduce to `ratio`, `act`, expand, `gate`, multiply."""

    ratio: Annotated[float, Field(gt=0, le=16)] = 0.25
    of: Literal["expanded", "input"] = Field("expanded", description="the channels that `ratio` multiplies")
    act: Activation = "relu"
    gate: Activation = "sigmoid"
    rounding: Rounding | None = Field(None, description="how the reduced width is rounded; default: the spec's")


def _parse_initializer(value: object) -> object:
    if isinstance(value, str):
        if value in _PLAIN_INITIALIZERS:
            return value
        if value in _NORMAL_INITIALIZERS:
            expect(_INITIALIZER, f"write `{{{value}: 0.01}}`, with its standard deviation")
        names = [*_PLAIN_INITIALIZERS, *_NORMAL_INITIALIZERS]
        expect(_INITIALIZER, did_you_mean(value, names) or one_of(names))
    if isinstance(value, tuple) and len(value) == 2:
        return value
    if isinstance(value, dict) and len(value) == 1:
        (kind, std), *_ = value.items()
        if kind not in _NORMAL_INITIALIZERS:
            expect(_INITIALIZER, did_you_mean(kind, _NORMAL_INITIALIZERS))
        if isinstance(std, bool) or not isinstance(std, int | float):
            expect("a standard deviation such as 0.01", at=(kind,))
        return (kind, float(std)) if 0 <= std <= 100 else expect("between 0 and 100", at=(kind,))
    return expect(_INITIALIZER)


_INITIALIZER = "an initialiser's name, `{normal: STD}` or `{trunc_normal: STD}`"
_NORMAL_INITIALIZERS = ("normal", "trunc_normal")
_PLAIN_INITIALIZERS = (
    "kaiming_normal_fan_out",  # torchvision: fan_out = C·k², groups ignored
    "kaiming_normal_fan_out_grouped",  # timm, TensorFlow: fan_out = C·k²/groups
    "kaiming_uniform_fan_in",  # torch's own default of Conv2d and Linear
    "lecun_uniform",  # torchvision's feature pyramid: U(±sqrt(3/fan_in)), `kaiming_uniform_(a=1)`
    "xavier_uniform",  # Keras's glorot_uniform
    "uniform_fan_out",  # timm's Linear: U(±1/sqrt(fan_out))
)
Initializer = Annotated[
    str | tuple[str, float],
    BeforeValidator(_parse_initializer),
    PlainSerializer(lambda v: dict([v]) if isinstance(v, tuple) else v),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(_PLAIN_INITIALIZERS)},
                *(
                    {
                        "type": "object",
                        "properties": {name: {"type": "number", "minimum": 0}},
                        "required": [name],
                        "additionalProperties": False,
                    }
                    for name in _NORMAL_INITIALIZERS
                ),
            ]
        }
    ),
]


class Init(Settings):
    """How weights start. Biases start at zero and norms at one, except where a key here says otherwise."""

    conv: Initializer = "kaiming_normal_fan_out"
    linear: Initializer = "kaiming_uniform_fan_in"
    bias: Literal["zeros", "uniform_fan_in"] = Field("zeros", description="`uniform_fan_in` is torch's own default")
    residual_norm: Literal["ones", "zeros"] = Field("ones", description="the last norm of a residual branch")

    def stated(self) -> Init:
        """The policy with every key stated, so that it hides all of the spec's own where it is laid over that."""
        return Init.model_validate({name: getattr(self, name) for name in Init.model_fields})


class DropPath(Settings):
    """Stochastic depth (Huang et al. 2016).

    `linear` grows from 0 at the first block; `constant` is the same everywhere.
    """

    rate: Probability = 0.0
    schedule: Literal["linear", "constant"] = "linear"


def parse_norm(value: object) -> object:
    """`norm: none` stands for `{kind: none}`."""
    return {"kind": value} if isinstance(value, str) else value


def parse_drop_path(value: object) -> object:
    """`drop_path: 0.2` stands for `{rate: 0.2}`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"rate": value}
    return value


class Table(Settings):
    """How a row that is written as a list is read: `columns` names its cells, `defaults` fills what it omits."""

    block: str | None = None
    columns: Many[str] = ()
    defaults: Anything = Field(FrozenDict(), description="keys for every row of `block` that does not give them itself")


def squeeze_width(squeeze: Squeeze, rounding: Rounding, channels: int) -> int:
    """The reduced width of a squeeze over this many channels."""
    return (squeeze.rounding or rounding).round(channels * squeeze.ratio)


def count_of(count: int | Ratio, channels: int, rounding: Rounding) -> int:
    """A count as written, or a ratio of `channels` rounded; `1x` is `channels` itself."""
    if count == Ratio(1.0):
        return channels
    return rounding.round(channels * count.value) if isinstance(count, Ratio) else count
