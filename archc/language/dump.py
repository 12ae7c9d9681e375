"""A Spec as YAML that a person can read and archc can load again: the same network, everything resolved.

Inheritance, overrides, interpolations and the table have done their work by the time there is a Spec, so neither
`defaults` nor `vars` nor `table` is written: every row is a mapping of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from archc.document.yaml import plain_scalar
from archc.language.row import Row
from archc.language.schema import Spec

_RESOLVED = ("vars", "table", "stages")
_LAST = ("repeat", "repeat_scale", "scale")
_PLAIN = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.+/-]*")
_INTERPOLATION = re.compile(r"(\\*)\$\{")


def to_yaml(spec: Spec, full: bool = False) -> str:
    """The spec as YAML: what was written, or with `full` every default too. A row is one line."""
    lines = [f"{key}: {_flow(value)}" for key, value in _values(spec, full, full).items() if key not in _RESOLVED]
    lines += ["", "stages:"]
    for name, rows in spec.stages.items():
        lines.append(f"  {_scalar(name)}:")
        lines += [f"    - {_flow(row_values(row, full))}" for row in rows]
    return "\n".join(lines) + "\n"


def row_values(row: Row, full: bool = False) -> dict[str, Any]:
    """A row as a YAML-ready mapping: the block first, what every row has last."""
    values = _values(row, full, False)
    return {**{k: v for k, v in values.items() if k not in _LAST}, **{k: values[k] for k in _LAST if k in values}}


def _values(model: BaseModel, full: bool, full_inside: bool) -> dict[str, Any]:
    """The fields that were written, or all.

    A settings group inside a row (`norm: {eps: 0.001}`) is what differs from the spec's own, so its defaults would
    change its meaning: they are written only where `full_inside` says so. A null that is the default says nothing.
    """
    dumped = model.model_dump(by_alias=True)
    values: dict[str, Any] = {}
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if (not full and name not in model.model_fields_set) or (value is None and info.default is None):
            continue
        if isinstance(value, BaseModel):
            values[info.alias or name] = _values(value, full_inside, full_inside)
        else:
            values[info.alias or name] = dumped[info.alias or name]
    return values


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_scalar(str(key))}: {_flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    return _scalar(value)


def _scalar(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = repr(value)  # `1e-05` is text to YAML 1.1 readers, `1.0e-05` a number to all
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    if isinstance(value, int):
        return str(value)
    text = _INTERPOLATION.sub(lambda match: match[1] * 2 + r"\${", str(value))
    if _PLAIN.fullmatch(text) and plain_scalar(text) == text:
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"
