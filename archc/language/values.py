"""The kinds of value a spec holds: counts, ratios, pairs, references, policies' names.

Every field of a row or a settings model is annotated with one of these, so that a bound is stated once and
the passes can find, say, all channel counts of a row without knowing what block it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from archc.document.values import FrozenDict, Synonyms, expect

MAX_CHANNELS = 1_000_000
MAX_RATIO = 1000

_RATIO = re.compile(r"([0-9]*\.?[0-9]+)x")
_REFERENCE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")


@dataclass(frozen=True, slots=True)
class Ratio:
    """`4x`: a multiple of the row's (already scaled) input channels."""

    value: float

    def __str__(self) -> str:
        return f"{Decimal(repr(self.value)):f}x".replace(".0x", "x")


Count = int | Ratio
"""A channel count, or a ratio of the scaled input."""


def _parse_count(value: object) -> object:
    if isinstance(value, Ratio):
        return value
    if isinstance(value, str) and (match := _RATIO.fullmatch(value[:40])):
        ratio = float(match[1])
        return Ratio(ratio) if 0 < ratio <= MAX_RATIO else expect(f"more than 0x and at most {MAX_RATIO}x")
    if isinstance(value, bool) or not isinstance(value, int):
        expect("a channel count such as `64` or a ratio such as `4x`", _count_hint(value))
    return value if 1 <= value <= MAX_CHANNELS else expect(f"between 1 and {MAX_CHANNELS:,} channels")


def _count_hint(value: object) -> str:
    if isinstance(value, float) and 0 < value <= MAX_RATIO:
        whole = f"`{value:.0f}` for that many channels, " if value.is_integer() else ""
        return f"write {whole}`{Ratio(value)}` for a ratio of the input"
    if isinstance(value, str) and (match := re.fullmatch(r"[x×*]\s*([0-9.]+)|([0-9.]+)\s*(?:[X×*]|\sx)", value[:40])):
        return f"did you mean `{match[1] or match[2]}x`?"
    return ""


@dataclass(frozen=True, slots=True)
class ChannelRole:
    """Marks a field that `width_mult` scales.

    `follows_input` is true of expansions: their width belongs to the row's input, so `reduced_tail` halves them
    only where the input is halved.
    """

    follows_input: bool = False


_COUNT_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^[0-9]*\.?[0-9]+x$"}]}
)
_AnyCount = Annotated[
    Count, PlainValidator(_parse_count), PlainSerializer(lambda v: str(v) if isinstance(v, Ratio) else v), _COUNT_SCHEMA
]
Channels = Annotated[_AnyCount, ChannelRole()]
"""An output (or inner) width: a count scaled by `width_mult`, or a ratio of the input."""
Expansion = Annotated[_AnyCount, ChannelRole(follows_input=True)]
"""A width inside a block that the paper states per input: see `ChannelRole`."""

Positive = Annotated[int, Field(ge=1, le=10_000)]
Classes = Annotated[int, Field(ge=1, le=10_000_000)]
"""A number of classes, which no multiplier scales."""
Stride = Annotated[int, Field(ge=1, le=64)]
Dilation = Annotated[int, Field(ge=1, le=65_536)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Multiplier = Annotated[float, Field(gt=0, le=100)]
Epsilon = Annotated[float, Field(gt=0, le=1)]


_PAIR = "one whole number or `[height, width]`"


def _parse_pair(value: object) -> object:
    if isinstance(value, list | tuple):
        return tuple(value) if len(value) == 2 else expect(_PAIR)
    # One number stands for both; what is no number is refused once, not twice.
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else expect(_PAIR)


def _pair_schema(maximum: int) -> WithJsonSchema:
    one = {"type": "integer", "minimum": 1, "maximum": maximum}
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one, "minItems": 2, "maxItems": 2}]})


def _short(pair: tuple[int, int]) -> int | list[int]:
    return pair[0] if pair[0] == pair[1] else list(pair)


_KernelInt = Annotated[int, Field(ge=1, le=255)]
_SizeInt = Annotated[int, Field(ge=1, le=65_536)]
Kernel = Annotated[
    tuple[_KernelInt, _KernelInt], BeforeValidator(_parse_pair), PlainSerializer(_short), _pair_schema(255)
]
"""`3`, or `[height, width]`."""
Size = Annotated[tuple[_SizeInt, _SizeInt], BeforeValidator(_parse_pair), PlainSerializer(_short), _pair_schema(65_536)]
"""Pixels: `224`, or `[height, width]`."""

_NOT_HERE = {
    **dict.fromkeys(
        ("gelu_tanh", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "quick_gelu"),
        "archc's `gelu` is the exact function; the approximations of it give other numbers",
    ),
    **dict.fromkeys(
        ("prelu", "rrelu", "frelu", "dyrelu", "swiglu", "geglu", "glu", "softmax"),
        "this one has weights or mixes channels: write a block of your own (`archc.Block`)",
    ),
}
"""Activations that archc does not have, with what to do instead."""


def _parse_activation(value: object) -> object:
    if isinstance(value, str) and (hint := _NOT_HERE.get(value)):
        expect("an activation that archc has", hint)
    return value


Activation = Annotated[
    Literal[
        "relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "silu", "gelu", "tanh", "leaky_relu", "elu", "mish",
        "none",
    ],
    Synonyms(
        {
            "swish": "silu",
            "hswish": "hardswish",
            "h_swish": "hardswish",
            "hard_swish": "hardswish",
            "hsigmoid": "hardsigmoid",
            "h_sigmoid": "hardsigmoid",
            "hard_sigmoid": "hardsigmoid",
            "identity": "none",
            "linear": "none",
            "None": "none",
            "null": "none",
        }
    ),
    BeforeValidator(_parse_activation),
]  # fmt: skip
OutActivation = Activation | Literal["spec"]
"""An activation, or `spec` for the spec's `act`: a word for what null means in a mapping, so that a cell can say it."""
Padding = Literal["symmetric", "same", "valid"]
"""`symmetric`: (k-1)//2·dilation on both sides, PyTorch's habit. `same`: TensorFlow's, ceil(size/stride) out, the
odd pixel at the end. `valid`: none."""
Scale = Literal["scaled", "fixed", "grow"]
"""How `width_mult` treats a row's counts: `scaled`; `fixed`, never; `grow`, never below what is written."""


_REFERENCE_SCHEMA: dict[str, Any] = {"type": "string", "pattern": f"^{_REFERENCE.pattern}$"}


def _parse_reference(value: object, at: tuple[str | int, ...] = ()) -> object:
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        expect("a reference such as `c3` or `c5.0`", at=at)
    return value


@dataclass(frozen=True, slots=True)
class ReferenceRole:
    """Marks a field that names a further input of the row."""


Reference = Annotated[str, PlainValidator(_parse_reference), WithJsonSchema(_REFERENCE_SCHEMA), ReferenceRole()]
"""`input`, a stage (`c3`), a row (`c5.0`), or a named part of a row (`c5.0.expand`)."""


def _parse_references(value: object) -> object:
    if isinstance(value, str):
        return _parse_reference(value)
    if isinstance(value, Mapping) and value:
        return FrozenDict({str(k): _parse_reference(v, (str(k),)) for k, v in value.items()})
    if isinstance(value, list | tuple) and value:
        return tuple(_parse_reference(v, (i,)) for i, v in enumerate(value))
    return expect("a reference such as `c3`, a list of references, or a mapping of names to them")


References = Annotated[
    str | tuple[str, ...] | FrozenDict[str, str],
    PlainValidator(_parse_references),
    WithJsonSchema(
        {
            "anyOf": [
                _REFERENCE_SCHEMA,
                {"type": "array", "items": _REFERENCE_SCHEMA, "minItems": 1},
                {"type": "object", "additionalProperties": _REFERENCE_SCHEMA, "minProperties": 1},
            ]
        }
    ),
]
"""One reference, a list of them, or a mapping from a name to one."""


def map_references(references: References, change: Callable[[str], str]) -> References:
    """The same structure with every reference changed."""
    if isinstance(references, str):
        return change(references)
    if isinstance(references, dict):
        return FrozenDict({name: change(reference) for name, reference in references.items()})
    return tuple(change(reference) for reference in references)


def names_in(references: object) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every reference of a `References` value, in order, with the path to it inside the value."""
    if isinstance(references, str):
        yield (), references
    elif isinstance(references, Mapping):
        yield from (((key,), reference) for key, reference in references.items())
    elif isinstance(references, tuple):
        yield from (((index,), reference) for index, reference in enumerate(references))
