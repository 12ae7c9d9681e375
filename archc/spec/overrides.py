"""Overrides: Hydra's grammar, applied to a tree with positions.

Hydra parses; applying is done here because Hydra's own cannot delete or append list items, and answers a wrong
index with a Python traceback.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from archc.spec.diagnostics import Diagnostic, Source, Span, SpecError, did_you_mean, fail, one_of, printable
from archc.spec.schema import Spec
from archc.spec.tree import Map, Path, Seq, Tree, dotted, find, from_plain, is_index, merge, replace_at

MAX_SWEEP = 100_000

Action = Literal["change", "add", "force", "delete"]
_PREFIX: dict[Action, str] = {"change": "", "add": "+", "force": "++", "delete": "~"}

MAX_LENGTH = 10_000
OPEN_MAPPINGS = {("stages",), ("vars",), ("outputs",)}
"""Mappings whose keys are the author's own, so that a new key must be asked for with `+`."""


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
        text = f"{_PREFIX[self.action]}{dotted(self.path)}={_literal(value)}"
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


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{k}:{_literal(v)}' for k, v in value.items())}}}"
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


def apply(tree: Map, overrides: Sequence[Override]) -> Map:
    """The tree with every override applied, in order.

    Raises:
        SpecError: listing every override that does not fit the tree.
    """
    problems: list[Diagnostic] = []
    result: Tree = tree
    for override in overrides:
        try:
            result = _apply(result, override)
        except SpecError as error:
            problems.extend(error.diagnostics)
    if problems:
        raise SpecError(problems)
    assert isinstance(result, Map)
    return result


def _apply(tree: Tree, override: Override) -> Tree:
    if override.swept:
        raise fail(
            "override-syntax",
            f"`{override.text}` is a sweep, which gives many specs; here one is needed",
            override.value_span,
            help="`archc report` takes sweeps; for a list, write [a,b]",
        )
    path = override.path
    if path[0] == "defaults":
        raise fail(
            "unknown-key",
            "`defaults` cannot be overridden: what a spec inherits is read before overrides",
            override.part_span(0),
            help="write a file that inherits it: `defaults: [parent, _self_]`",
        )
    parent = _parent(tree, override)
    if override.action == "delete":
        return _delete(tree, override, parent)
    value = from_plain(override.values[0], override.value_span)
    key, current = path[-1], find(tree, path)
    if override.action == "add" and current is not None:
        raise fail(
            "override-conflict",
            f"`{dotted(path)}` exists already",
            override.key_span,
            help=f"write `{override.text[1:]}` to change it",
        )
    if isinstance(parent, Seq):
        return _set_item(tree, override, parent, value, current)
    is_open = tuple(path[:-1]) in OPEN_MAPPINGS
    if override.action == "change" and current is None and is_open and isinstance(parent, Map):
        raise fail(
            "unknown-key",
            f"`{dotted(path[:-1])}` has no `{key}`",
            override.key_span,
            label=did_you_mean(key, parent.items),
            notes=[f"it has {one_of(parent.items).removeprefix('one of: ')}"] if parent.items else [],
            help=f"to add it, write `+{override.text}`" if override.source.kind == "override" else "",
        )
    if isinstance(current, Map) and isinstance(value, Map):
        value = merge(current, value)
    depth = next((d for d in range(1, len(path)) if find(tree, path[:d]) is None), len(path))
    for missing in range(len(path) - 1, depth - 1, -1):
        value = Map({str(path[missing]): value}, value.span, {str(path[missing]): override.part_span(missing)})
    return replace_at(tree, path[:depth], value, override.part_span(depth - 1))


def _parent(tree: Tree, override: Override) -> Tree:
    """The container that the last key belongs to; settings groups that the file left out count as empty."""
    path = override.path
    node = tree
    for depth in range(len(path) - 1):
        here = find(node, (path[depth],))
        if here is None:
            if isinstance(node, Map) and override.action != "delete" and _may_be_made(path[: depth + 1], override):
                return Map({}, override.key_span)
            raise _missing(override, node, depth)
        if not isinstance(here, Map | Seq):
            inside = f"{path[depth + 1]}" if depth + 2 == len(path) else "…"
            raise fail(
                "unknown-key",
                f"`{dotted(path[: depth + 1])}` is a single value, it has no `{path[depth + 1]}`",
                override.part_span(depth + 1),
                help=f"to make it a mapping, write `{dotted(path[: depth + 1])}={{{inside}: …}}`"
                if path[: depth + 1] in settings_groups()
                else "",
            )
        node = here
    return node


def _may_be_made(path: Path, override: Override) -> bool:
    """Whether a mapping that is not there may come into being: a settings group, one of a row, one of the author's."""
    if path in settings_groups():
        return True
    return (path[0] == "stages" and len(path) > 3) or (path[0] == "vars" and override.action in ("add", "force"))


@cache
def settings_groups() -> frozenset[Path]:
    """The keys whose values are mappings that a spec may leave out: `norm`, `squeeze.rounding`, `table.defaults`, …"""

    def groups(model: type[BaseModel], path: Path) -> Iterator[Path]:
        for name, info in model.model_fields.items():
            here = (*path, info.alias or name)
            for kind in _kinds(info.annotation):
                if issubclass(kind, BaseModel):
                    yield here
                    yield from groups(kind, here)
                elif issubclass(kind, dict):
                    yield here

    return frozenset(path for path in groups(Spec, ()) if path[0] != "stages")


def _kinds(annotation: Any) -> Iterator[type]:
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and origin is not tuple:
        yield origin
    if not (isinstance(origin, type) and issubclass(origin, dict | tuple)):
        for part in get_args(annotation):
            yield from _kinds(part)


def _missing(override: Override, node: Tree, depth: int) -> SpecError:
    """What the override's key names at this depth is not in `node`."""
    path, key, span = override.path[:depth], override.path[depth], override.part_span(depth)
    name = f"`{dotted(path)}`" if path else "the spec"
    if isinstance(node, Seq):
        known = f"its items are 0 to {len(node.items) - 1}" if node.items else "it is empty"
        return fail("unknown-key", f"{name} has no item `{key}`", span, label=known)
    keys = list(node.items) if isinstance(node, Map) else []
    if not path and override.action != "delete":
        keys = [info.alias or field for field, info in Spec.model_fields.items()]
    hint = did_you_mean(key, keys)
    return fail("unknown-key", f"{name} has no `{key}`", span, label=hint, help="" if hint else one_of(keys))


def _set_item(tree: Tree, override: Override, parent: Seq, value: Tree, current: Tree | None) -> Tree:
    path, index = override.path, override.path[-1]
    if current is None:
        appends = index == len(parent.items) and override.action in ("add", "force")
        if not appends:
            error = _missing(override, parent, len(path) - 1)
            hint = f"`+{dotted(path[:-1])}.{len(parent.items)}=…` appends"
            raise SpecError(replace(d, help=hint) for d in error.diagnostics)
        return replace_at(tree, path[:-1], replace(parent, items=(*parent.items, value)))
    if isinstance(current, Map) and isinstance(value, Map):
        value = merge(current, value)
    return replace_at(tree, path, value, override.key_span)


def _delete(tree: Tree, override: Override, parent: Tree) -> Tree:
    path, key, wanted = override.path, override.path[-1], override.values[0]
    current = find(tree, path)
    if current is None:
        raise _missing(override, parent, len(path) - 1)
    if "=" in override.text and getattr(current, "value", None) != wanted:
        raise fail(
            "override-conflict",
            f"`{dotted(path)}` is not {_literal(wanted)}, so it was not deleted",
            override.value_span,
            help=f"write `~{dotted(path)}` to delete it whatever it is",
        )
    if isinstance(parent, Seq):
        items = tuple(item for number, item in enumerate(parent.items) if number != key)
        return replace_at(tree, path[:-1], replace(parent, items=items))
    assert isinstance(parent, Map)
    return replace_at(tree, path[:-1], parent.without(str(key)))
