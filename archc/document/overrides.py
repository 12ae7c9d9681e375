"""Overrides and sweeps, parsed by Hydra's grammar; `archc.document.edits` applies them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from archc.document.diagnostics import Diagnostic, Source, Span, SpecError, fail, printable
from archc.document.tree import Path, dotted, is_index

MAX_SWEEP = 100_000

Action = Literal["change", "add", "force", "delete"]
_PREFIX: dict[Action, str] = {"change": "", "add": "+", "force": "++", "delete": "~"}

MAX_LENGTH = 10_000


@dataclass(frozen=True, slots=True)
class Override:
    """One override, parsed: what to do at a path, and every value to do it with (one, unless it is a sweep)."""

    text: str
    action: Action
    path: Path
    values: tuple[object, ...]
    swept: bool = False

    @property
    def source(self) -> Source:
        """The override as a text that diagnostics point into."""
        return Source(f"override `{self.text}`", self.text, "override")

    @property
    def key_span(self) -> Span:
        """Where the last part of its key stands."""
        return self.part_span(len(self.path) - 1)

    def part_span(self, depth: int) -> Span:
        """Where one part of its dotted key stands."""
        start = len(_PREFIX[self.action])
        parts = self.text[start:].partition("=")[0].split(".")
        before = start + sum(len(part) + 1 for part in parts[:depth])
        return Span(self.source, 1, before + 1, max(1, len(parts[depth].rstrip())))

    @property
    def value_span(self) -> Span:
        """Where its value stands; the key, if it has none."""
        key, equals, value = self.text.partition("=")
        return Span(self.source, 1, len(key) + 2, max(1, len(value))) if equals else self.part_span(0)

    def chosen(self, value: object) -> Override:
        """The override with one of a sweep's values."""
        text = f"{_PREFIX[self.action]}{dotted(self.path)}={literal(value)}"
        return replace(self, text=text, values=(value,), swept=False)


_PLAIN = re.compile(
    r"([A-Za-z_]\w*(?:\.(?:[A-Za-z_]\w*|0|[1-9][0-9]{0,8}))*)=(-?(?:0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?|[A-Za-z]\w*)",
    re.ASCII,
)
_RESERVED = {"true": True, "false": False, "null": None, "nan": math.nan, "inf": math.inf}


def _plain(text: str) -> Override | None:
    """An override of the plainest form, `key=number` or `key=word`, or None for any other.

    Importing Hydra's parser takes longer than all the rest of a report, so what cannot be read in two ways does not
    wait for it. A test holds this equal to Hydra's reading.
    """
    match = _PLAIN.fullmatch(text) if len(text) < MAX_LENGTH else None
    if match is None:
        return None
    key, value, fraction = match.groups()
    path: Path = tuple(int(part) if is_index(part) else part for part in key.split("."))
    if value[-1].isdigit() and not value[0].isalpha():
        return Override(text, "change", path, (float(value) if fraction else int(value),))
    return Override(text, "change", path, (_RESERVED.get(value.lower(), value),))


def parse(texts: Sequence[str]) -> list[Override]:
    """Parse overrides written in Hydra's grammar.

    Raises:
        SpecError: listing every override that cannot be read.
    """
    plain = [_plain(text) for text in texts]
    if None not in plain:
        return [override for override in plain if override is not None]
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

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
    """What is wrong with an override that Hydra's grammar refuses, without the grammar's own words."""
    shown = printable(text)
    source = Source(f"override `{shown[:80]}`", shown, "override")
    key, equals, value = shown.partition("=")
    if found := _wrong_whole(text) or _wrong_key(key, equals + value, parser):
        return Diagnostic("override-syntax", found[0], Span(source, 1, 1, max(1, len(key))), help=found[1])
    message, help = _wrong_value(key, value, error)
    return Diagnostic("override-syntax", message, Span(source, 1, len(key) + 2, max(1, len(value))), help=help)


def _wrong_whole(text: str) -> tuple[str, str] | None:
    """A message and a help, if the override is no line of text."""
    if len(text) > MAX_LENGTH:
        return f"an override of more than {MAX_LENGTH:,} characters", "write it into a spec file"
    if not text.isprintable():
        return "an override with a character that cannot be seen", "it may be a line break; remove it"
    return None if text.strip() else ("an empty override", "write `key=value`")


def _wrong_key(key: str, rest: str, parser: Any) -> tuple[str, str] | None:
    """A message and a help, if it is the key that cannot be read. `rest` is what follows it, from the equals sign."""
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
    from hydra.errors import HydraException

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


def literal(value: object) -> str:
    """A value as the override grammar writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{k}:{literal(v)}' for k, v in value.items())}}}"
    return str(value)


def _parses(text: str, parser: Any) -> bool:
    from hydra.errors import HydraException

    try:
        parser.parse_override(text)
    except HydraException:
        return False
    return True


def sweep(overrides: Sequence[Override]) -> Iterator[list[Override]]:
    """Every combination of the swept values, in Hydra's order: the last override varies fastest.

    Raises:
        SpecError: more combinations than can be meant.
    """
    total = math.prod(len(override.values) for override in overrides)
    if total > MAX_SWEEP:
        swept = next(o for o in overrides if o.swept)
        raise fail("too-large", f"the sweep has more than {MAX_SWEEP:,} combinations", swept.value_span)
    choices = [[o.chosen(v) for v in o.values] if o.swept else [o] for o in overrides]
    for combination in itertools.product(*choices):
        yield list(combination)
