"""A checked document as YAML that a person can read and archc can load again, with everything resolved.

Inheritance, overrides and interpolations have done their work by the time there is a model, so the keys that only
serve them (`consumed`) are not written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from archc.document.model import DocumentModel, Settings
from archc.document.scalars import plain_scalar

_PLAIN = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.+/-]*")
_INTERPOLATION = re.compile(r"(\\*)\$\{")


def text(model: DocumentModel, full: bool = False) -> str:
    """The document as YAML: what was written, or with `full` every default, too."""
    written = {key: value for key, value in values(model, full).items() if key not in model.consumed}
    lines = [f"{key}: {flow(value)}" for key, value in written.items() if key not in model.tall]
    for key in [key for key in written if key in model.tall]:
        lines += ["", f"{key}:", *_block(written[key], "  ")]
    return "\n".join(lines) + "\n"


def values(model: BaseModel, full: bool = False) -> dict[str, Any]:
    """A model as a YAML-ready mapping of what was written, or with `full` of every field.

    A null that is the default says nothing, so it is left out.
    """
    dumped = model.model_dump(by_alias=True)
    inside = full and not (isinstance(model, Settings) and model.states_differences)
    found: dict[str, Any] = {}
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if (not full and name not in model.model_fields_set) or (value is None and info.default is None):
            continue
        key = info.alias or name
        found[key] = _value(value, dumped[key], inside)
    last = model.written_last if isinstance(model, Settings) else ()
    return {**{k: v for k, v in found.items() if k not in last}, **{k: found[k] for k in last if k in found}}


def _value(value: object, dumped: Any, full: bool) -> Any:
    """A field's value as pydantic writes it, except that models inside are written by `values`."""
    if isinstance(value, BaseModel):
        return values(value, full)
    if isinstance(value, Mapping) and isinstance(dumped, Mapping) and len(value) == len(dumped):
        pairs = zip(value.values(), dumped.items(), strict=True)
        return {key: _value(item, below, full) for item, (key, below) in pairs}
    if isinstance(value, list | tuple) and isinstance(dumped, list | tuple) and len(value) == len(dumped):
        return [_value(item, below, full) for item, below in zip(value, dumped, strict=True)]
    return dumped


def _block(value: object, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            if isinstance(item, list | tuple) and item:
                yield f"{indent}{scalar(str(key))}:"
                yield from (f"{indent}  - {flow(part)}" for part in item)
            else:
                yield f"{indent}{scalar(str(key))}: {flow(item)}"
    elif isinstance(value, list | tuple) and value:
        yield from (f"{indent}- {flow(item)}" for item in value)
    else:
        yield f"{indent}{flow(value)}"


def flow(value: object) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{scalar(str(key))}: {flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    return scalar(value)


def scalar(value: object) -> str:
    """A single value, quoted where YAML would read it as something else."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        shown = repr(value)  # `1e-05` is text to YAML 1.1 readers, `1.0e-05` a number to all
        return shown.replace("e", ".0e") if "e" in shown and "." not in shown else shown
    if isinstance(value, int):
        return str(value)
    shown = _INTERPOLATION.sub(lambda match: match[1] * 2 + r"\${", str(value))
    if _PLAIN.fullmatch(shown) and plain_scalar(shown) == shown:
        return shown
    return '"' + "".join(_escaped(character) for character in shown) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"
