"""Overrides and sweeps in Hydra's grammar. `archc.document.edits` applies them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from archc.document.diagnostics import Source, Span, fail
from archc.document.lazy import IMPORTING
from archc.document.tree import Path, dotted, is_index

MAX_SWEEP = 100_000
MAX_LENGTH = 10_000

Action = Literal["change", "add", "force", "delete"]
_PREFIX: dict[Action, str] = {"change": "", "add": "+", "force": "++", "delete": "~"}


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

    Importing Hydra's parser takes longer than all the rest of a report, so the plainest overrides do without it. A test
    holds this equal to Hydra's reading.
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
    """Parse overrides that are written in Hydra's grammar.

    Raises:
        SpecError: listing every override that cannot be read.
    """
    plain = [_plain(text) for text in texts]
    if None not in plain:
        return [override for override in plain if override is not None]
    with IMPORTING:
        from archc.document import hydra_grammar

    return hydra_grammar.parse(texts)


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
