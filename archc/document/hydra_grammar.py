"""Overrides read by Hydra's own parser, and explanations of those that it refuses."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from archc.document.diagnostics import Diagnostic, Source, Span, SpecError, visible
from archc.document.overrides import MAX_LENGTH, MAX_SWEEP, Action, Override
from archc.document.tree import Path, is_index


def parse(texts: Sequence[str]) -> list[Override]:
    """Parse overrides.

    Raises:
        SpecError: listing every override that cannot be read.
    """
    parser = OverridesParser.create()
    parsed: list[Override] = []
    problems: list[Diagnostic] = []
    for text in texts:
        try:
            if len(text) > MAX_LENGTH or not text.isprintable():
                raise ValueError("too long, or not one line of text")
            item = parser.parse_override(text)
            if item.package is not None or not item.key_or_group:
                raise HydraException("a key with `@`, or no key at all")
            action: Action = "delete" if item.is_delete() else "force" if item.is_force_add() else "change"
            action = "add" if item.is_add() else action
            path: Path = tuple(int(p) if is_index(p) else p for p in item.key_or_group.split("."))
            if item.is_sweep_override():
                values: tuple[object, ...] = tuple(itertools.islice(item.sweep_iterator(), MAX_SWEEP + 1))
            else:
                values = (item.value(),)
            parsed.append(Override(text, action, path, tuple(map(_plain_value, values)), item.is_sweep_override()))
        except (HydraException, ValueError, TypeError, RecursionError, OverflowError, AssertionError) as error:
            problems.append(_unreadable(text, error, parser))
    if problems:
        raise SpecError(problems)
    return parsed


_KEY = re.compile(r"(?:\+\+|\+|~)?([A-Za-z_][\w-]*(?:\.\w+)*)\s*")


def _unreadable(text: str, error: Exception, parser: Any) -> Diagnostic:
    """The diagnostic for an override that Hydra's parser refuses, without the jargon of its grammar."""
    shown = visible(text)
    source = Source(f"override `{shown[:80]}`", shown, "override")
    key, equals, value = shown.partition("=")
    if found := _wrong_whole(text) or _wrong_key(key, equals + value, parser):
        return Diagnostic("override-syntax", found[0], Span(source, 1, 1, max(1, len(key))), help=found[1])
    message, help = _wrong_value(key, value, error)
    return Diagnostic("override-syntax", message, Span(source, 1, len(key) + 2, max(1, len(value))), help=help)


def _wrong_whole(text: str) -> tuple[str, str] | None:
    """A message and a help, if the override is not one line of text."""
    if len(text) > MAX_LENGTH:
        return f"an override of more than {MAX_LENGTH:,} characters", "write it into a spec file"
    if not text.isprintable():
        return "an override with a character that cannot be seen", "it may be a line break; remove it"
    return None if text.strip() else ("an empty override", "write `key=value`")


def _wrong_key(key: str, rest: str, parser: Any) -> tuple[str, str] | None:
    """A message and a help, if the key cannot be read. `rest` follows the key and begins with the equals sign."""
    if not key.strip("+~ "):
        return "an override without a key", "write `key=value`"
    if _KEY.fullmatch(key) and not rest:
        return f"`{key}` has no value", f"write `{key}=VALUE`; `~{key}` would delete it"
    if _KEY.fullmatch(key) and _parses(f"{key}=1", parser):
        return None
    if ":" in key and not rest:
        return f"`{key[:80]}` is no override", f"write `{key.replace(':', '=', 1)[:80]}`"
    help = "a key is words and numbers joined by dots: `stages.c4.0.out`"
    if key != key.strip():
        help = f"write `{key.strip()}={rest[1:].strip()}`, without spaces"
    elif key.startswith("-"):
        help = f"overrides have no dashes: `{key.lstrip('-')}{rest}`"
    elif "[" in key or "]" in key:
        dotted_key = re.sub(r"[\[\].]+", ".", key).strip(".")
        help = f"items of a list are written with dots: `{dotted_key}{rest}`"
    elif re.search(r"\.-[0-9]", key):
        help = "items of a list are counted from 0, at its start"
    return f"`{key[:80]}` is no key", help


def _wrong_value(key: str, value: str, error: Exception) -> tuple[str, str]:
    """A message and a help for a value that cannot be read."""
    if another := re.search(r"\s([A-Za-z_][\w.]*=.*)", value):
        return f"`{key}={value[:80]}` is two overrides in one", f"pass `{another[1]}` on its own"
    if value.startswith("interval("):
        return "an interval has no list of values to try", "write `range(START,STOP,STEP)` or values"
    if value.startswith("glob("):
        return "`glob` chooses among files, and there are none here", "list the values"
    reason = "" if isinstance(error, HydraException) else f": {str(error)[:200]}"
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"cannot read the value `{value[:80]}`{reason}", f"if it is text, quote it: `{key}='{quoted[:80]}'`"


def _plain_value(value: object) -> object:
    # Hydra wraps quoted strings, and keeps the quotes' kind; only the text matters here.
    if type(value).__name__ == "QuotedString":
        return str(getattr(value, "text", value))
    if isinstance(value, list):
        return [_plain_value(v) for v in value]
    if isinstance(value, dict):
        return {str(_plain_value(k)): _plain_value(v) for k, v in value.items()}
    return value


def _parses(text: str, parser: Any) -> bool:
    try:
        parser.parse_override(text)
    except HydraException:
        return False
    return True
