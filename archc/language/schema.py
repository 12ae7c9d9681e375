"""The Spec: everything a spec file may say, checked and frozen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    SerializeAsAny,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from archc.document.model import DocumentModel
from archc.document.values import Anything, Expected, FrozenDict, Many, expect, reject
from archc.language.detector import Detector, check_detector
from archc.language.registry import REGISTRY
from archc.language.row import Row
from archc.language.settings import (
    DropPath,
    Init,
    Input,
    Norm,
    NormKind,
    Rounding,
    Squeeze,
    Table,
    parse_drop_path,
    parse_norm,
)
from archc.language.values import Activation, Classes, Multiplier, Padding, Probability, Reference, References

DilationPolicy = Literal["include_strided", "after_strided", "none_in_vit"]

STAGE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _parse_stages(value: object) -> FrozenDict[str, tuple[Row, ...]]:
    example = "stages: {stem: [{block: conv, out: 16}]}"
    if not isinstance(value, Mapping):
        expect("a mapping of stage names to lists of rows", example)
    if not value:
        reject("`stages` holds no stage", example)
    if isinstance(value, FrozenDict) and all(isinstance(row, Row) for rows in value.values() for row in rows):
        return value  # what the loader has checked, row by row, or another spec's stages
    return _Stages().read(value)


class _Stages:
    """Stages that Python code hands to `Spec` itself: rows are blocks, or mappings that are read as blocks here."""

    def __init__(self) -> None:
        self.problems: list[InitErrorDetails] = []

    def read(self, value: Mapping[Any, Any]) -> FrozenDict[str, tuple[Row, ...]]:
        """Check names and rows.

        Raises:
            ValidationError: with every problem found, each at its stage, row and key.
        """
        stages: dict[str, tuple[Row, ...]] = {}
        for name, rows in value.items():
            if not isinstance(name, str) or not STAGE_NAME.fullmatch(name) or name == "input":
                self._wrong(f"{name!r} cannot name a stage", (str(name),), name)
            if not isinstance(rows, list | tuple) or not rows:
                self._wrong("a stage is a list of rows, and not empty", (str(name),), rows)
                continue
            read = [self._row(str(name), index, row) for index, row in enumerate(rows)]
            stages[str(name)] = tuple(row for row in read if row is not None)
        if self.problems:
            raise ValidationError.from_exception_data("Spec", self.problems)
        return FrozenDict(stages)

    def _row(self, stage: str, index: int, row: object) -> Row | None:
        at = (stage, index)
        if isinstance(row, Row):
            return row
        if not isinstance(row, Mapping) or "block" not in row:
            self._wrong("a row is a block, or a mapping with a key `block`", at, row)
            return None
        try:
            return REGISTRY.get(row["block"]).model_validate(dict(row)).placed(*at)
        except PydanticCustomError as error:
            self.problems.append(InitErrorDetails(type=error, loc=(*at, "block"), input=row["block"]))
        except ValidationError as error:
            for line in error.errors(include_url=False):
                self._wrong(line["msg"], (*at, *line["loc"]), line["input"], line["type"])
        return None

    def _wrong(self, message: str, at: tuple[str | int, ...], value: object, id: str = "invalid-value") -> None:
        kind = PydanticCustomError(id, "{message}", {"message": message})
        self.problems.append(InitErrorDetails(type=kind, loc=at, input=value))


class Spec(DocumentModel):
    """A checked network description; frozen. `archc.load` makes one from a file or a mapping, `override` from another.

    `Spec(name=…, stages={"stem": [{"block": "conv", "out": 16}]})` checks its rows as well; what does not fit is a
    `pydantic.ValidationError` there.
    """

    consumed = frozenset({"vars", "table"})
    tall = frozenset({"stages"})

    name: Annotated[
        str,
        Field(min_length=1, max_length=120, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"),
        Expected("letters, digits, `_`, `.`, `+` and `-`, the first a letter or a digit"),
    ]
    """The network's name; default: the file's."""
    input: Input = Input()
    """The input tensor and the preprocessing of images."""
    num_classes: Classes = 1000
    """The number of classes, for rows that refer to it as `${num_classes}`."""

    width_mult: Multiplier = 1.0
    """Every channel count times this, rounded by `rounding`; 1.0 leaves the counts as they are written."""
    depth_mult: Multiplier = 1.0
    """Every `repeat` times this, rounded up."""
    reduced_tail: bool = False
    """Halve the channels of what `tail` names, before `width_mult`."""
    tail: Many[Reference] = ()
    """The stages (or rows) that `reduced_tail` halves."""
    dilated: bool = False
    """Keep output stride 16: the same as `output_stride: 16`."""
    output_stride: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Turn every stride beyond this total into dilation."""
    dilation_policy: DilationPolicy = "include_strided"
    """Which rows dilate once a stride is removed. `include_strided`: the row that lost its stride and all after it
    (torchvision's MobileNetV3). `after_strided`: only those after it (timm, torchvision's ResNet). `none_in_vit`:
    as `after_strided`, but never a transformer block (ml-cvnets, transformers)."""
    dropout: Probability = 0.0
    """The rate of `dropout` rows that state none."""
    drop_path: Annotated[
        DropPath,
        BeforeValidator(parse_drop_path, json_schema_input_type=Probability | DropPath),
        Expected("a rate such as 0.2, or `{rate: 0.2, schedule: linear}`"),
    ] = DropPath()
    """Stochastic depth of residual rows: a rate, or `{rate, schedule}`."""

    act: Activation = "relu"
    """The activation of rows that state none."""
    norm: Annotated[Norm, BeforeValidator(parse_norm, json_schema_input_type=NormKind | Norm)] = Norm()
    squeeze: Squeeze = Squeeze()
    init: Init = Init()
    padding: Padding = "symmetric"
    """The padding of convolutions and pools that state none."""
    rounding: Rounding = Rounding()
    """How scaled channel counts are rounded."""

    vars: Anything = FrozenDict()
    """Your own names, for `${vars.name}`."""
    table: Table = Table()
    """How rows written as lists are read."""
    stages: Annotated[
        FrozenDict[str, tuple[SerializeAsAny[Row], ...]],
        PlainValidator(_parse_stages),
        WithJsonSchema({"type": "object"}),
    ]
    """Stage name to rows, in order."""
    outputs: References | None = None
    """What the network returns: one reference gives a tensor, a list or a mapping gives a dict; default: the last
    stage's output. What no output needs is pruned."""
    detector: Detector | None = None
    """The object detector around the network, whose outputs are its levels; default: none."""

    @model_validator(mode="after")
    def _one_output_stride(self) -> Spec:
        if self.dilated and self.output_stride not in (None, 16):
            reject(
                f"`dilated: true` means output stride 16, but `output_stride` is {self.output_stride}",
                "state only `output_stride`",
                "conflicting-settings",
                ("output_stride",),
            )
        return self

    @model_validator(mode="after")
    def _detector_fits(self) -> Spec:
        if self.detector is not None:
            check_detector(self.detector, self.level_names, self.num_classes)
        return self

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names that the outputs go by; a single tensor's is its reference."""
        outputs = next(reversed(self.stages), "") if self.outputs is None else self.outputs
        return (outputs,) if isinstance(outputs, str) else tuple(outputs)

    @property
    def level_names(self) -> tuple[str, ...]:
        """The names of a detector's levels."""
        levels = self.detector.levels if self.detector is not None else None
        if levels is None:
            return self.output_names
        return (levels,) if isinstance(levels, str) else tuple(levels)

    def rows(self) -> Iterator[tuple[str, int, Row]]:
        """Every row in order, with its stage and index."""
        for stage, rows in self.stages.items():
            for index, row in enumerate(rows):
                yield stage, index, row
