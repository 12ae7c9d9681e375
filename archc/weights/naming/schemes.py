"""Name maps: what each library calls the parts of a network, as data.

A map is a YAML file, one for each library; the bundled ones are in `maps/`, and `register_map` adds others:

    library: mylib                     what `source=` and `names=` call it
    schemes:
      mynet:                           one way of naming; a library may have several
        signature: [stem.weight, "blocks.*.dw.weight", "!fc.bias"]
        policies: [{name: mylib, eps: [1.0e-5], padding: symmetric}]
        rows:
          - {at: stem, row: 0, name: "", parts: {conv: stem, norm: bn}}
          - {at: body, label: InvertedResidual, name: "blocks.{block}", parts: {depthwise.conv: dw, …}}
          - {at: head, heads: 1, name: fc, as: matrix, parts: {linear: "", conv: ""}}

`signature` are patterns that each match a name in such a checkpoint; one that begins with `!` must match none.

For every row that owns weights, the first rule in `rows` that fits gives its names. A rule fits by where the row is
(`at`, `row`, `head`, `heads`, `last`, `stage`), by what it is (`label`), by its parts (`has`, `lacks`), by what else is
in its group (`group_has`), and by the part that a detector's level is taken from (`split`). A rule without `split` fits
only rows that no level splits, and one without `stage` does not fit a detector's heads on levels and on proposals.

A tensor's name is the rule's `name`, the entry of its layer in `parts`, and the weight's own name. In `parts`, `*`
stands for one component of a name; a list is for a tensor that the library keeps in pieces. In names, `{row}`,
`{block}`, `{group}`, `{index}`, `{segment}`, `{position}` and `{head}` are the numbers of `places.Place`, `{part}` is
the number of the part among the row's parts that own weights, `{*}` is what `*` stood for, and `{#scope}` is the number
of parts in a scope. `{group+1}` counts from one.

A scheme that `extends` another adds the other's rules, except those for heads, after its own; `moved` renames their
prefix `from` to `to`, because a detector keeps its backbone under a name of its own. `same_as` takes a scheme over
whole. Both name a scheme of the same file, or `library/scheme`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from archc.document.diagnostics import did_you_mean, one_of
from archc.ir import ops
from archc.weights.error import refuse
from archc.weights.naming.layout import Kind
from archc.weights.naming.places import Place, Section

ARCHC = "archc"
"""The source whose names are the keys of a State; it needs no map."""
AUTO = "auto"

MAPS = "ARCHC_MAPS"
"""The environment variable that names further map files, separated as in `PATH`."""

DIRECTORY = Path(__file__).parent / "maps"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Template:
    """A name with fields in braces."""

    _FIELD = re.compile(r"\{([*#]?)(\w*)([+-]\d+)?\}")
    _NUMBERS = frozenset({"row", "block", "group", "index", "segment", "position", "head", "part"})

    def __init__(self, text: str) -> None:
        self._pieces: list[str | tuple[str, str, int]] = []
        end = 0
        for field in self._FIELD.finditer(text):
            sign, word, offset = field.groups()
            if (sign == "" and word not in self._NUMBERS) or (sign == "*" and word) or (sign == "#" and not word):
                raise ValueError(f"`{{{sign}{word}}}` is no field of a name")
            self._pieces += [text[end : field.start()], (sign, word, int(offset or 0))]
            end = field.end()
        if "{" in (rest := text[end:]) or "}" in rest:
            raise ValueError(f"`{text}` has a brace that belongs to no field")
        self._pieces.append(rest)

    def fill(self, numbers: Mapping[str, int], star: str, children: Mapping[str, int]) -> str:
        """The name, with `children` the number of parts of every scope."""
        filled: list[str] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                filled.append(piece)
                continue
            sign, word, offset = piece
            if sign == "*":
                filled.append(star)
            else:
                filled.append(str((children.get(word, 0) if sign == "#" else numbers[word]) + offset))
        return "".join(filled)


class RowRule(_Data):
    """How a library names one kind of row; see the module's text."""

    at: Section
    row: int | None = None
    head: int | None = None
    heads: int | None = None
    last: bool | None = None
    stage: str | None = None
    label: str | None = None
    has: str | None = None
    lacks: str | None = None
    group_has: str | None = None
    split: str = ""
    name: str
    kind: Kind | None = Field(None, alias="as")
    """What the row's layers are there, if that may differ from what they are here."""
    parts: dict[str, str | list[str]]

    @field_validator("parts")
    @classmethod
    def _check_parts(cls, parts: dict[str, str | list[str]], info: Any) -> dict[str, str | list[str]]:
        for name in (info.data.get("name", ""), *(end for there in parts.values() for end in _list(there))):
            Template(name)
        return parts

    def fits(self, place: Place, parts: Iterable[str]) -> bool:
        """Whether this rule names a row, whose parts have these names."""
        return (
            self.at == place.section
            and self.row in (None, place.row)
            and self.head in (None, place.head)
            and self.heads in (None, place.heads)
            and self.last in (None, place.last)
            and self.stage == (place.region.stage if place.own_head or self.stage is not None else None)
            and self.label in (None, place.region.label)
            and self.split == place.split
            and (self.has is None or self.has in parts)
            and (self.lacks is None or self.lacks not in parts)
            and (self.group_has is None or self.group_has in place.group_labels)
        )

    def templates(self, local: str) -> tuple[Sequence[Template], str] | None:
        """The names of the pieces of a layer, and what `*` stood for; None where the rule has no name for it."""
        if found := self._exact.get(local):
            return found, ""
        for pattern, templates in self._patterns:
            if match := pattern.fullmatch(local):
                return templates, match.group(1)
        return None

    @cached_property
    def _exact(self) -> dict[str, list[Template]]:
        return {part: self._named(there) for part, there in self.parts.items() if "*" not in part}

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], list[Template]]]:
        found = ((part, there) for part, there in self.parts.items() if "*" in part)
        return [(re.compile(re.escape(p).replace(r"\*", r"(\w+)")), self._named(there)) for p, there in found]

    def _named(self, there: str | list[str]) -> list[Template]:
        return [Template(".".join(part for part in (self.name, end) if part)) for end in _list(there)]


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


class Policy(_Data):
    """What a library does that no tensor's shape shows; what is not stated is not known."""

    name: str
    files: list[str] = []
    """Patterns of the names of files that follow this policy."""
    names: list[str] = []
    """Patterns as in `signature`: only checkpoints with such names follow this policy, and they follow no other."""
    eps: list[float] | None = None
    momentum: list[float] | None = None
    padding: ops.PadMode | None = None
    mean: float | list[float] | None = None
    std: float | list[float] | None = None
    channel_order: Literal["rgb", "bgr"] | None = None
    activations: list[str] | None = None


class Scheme(_Data):
    """One way in which a library names networks."""

    library: str
    name: str
    signature: list[str]
    prefix: str = ""
    """A prefix that all names but the head's have, and that a backbone's own file lacks."""
    policies: list[Policy]
    rows: list[RowRule]

    @property
    def heads(self) -> list[str]:
        """The prefixes of every head that the library has, whatever a network's own head is."""
        return [rule.name.partition(".{")[0] for rule in self.rows if rule.at == "head"]

    def signs(self, names: str) -> bool:
        """Whether these look like the names of this scheme, one name on a line."""
        return signs(self.signature, names, self.prefix)


def signs(patterns: Iterable[str], names: str, prefix: str = "") -> bool:
    """Whether every pattern matches a name, and those that begin with `!` none; there is one name on each line."""
    return all(
        pattern.startswith("!") != bool(_pattern(pattern.removeprefix("!"), prefix).search(names))
        for pattern in patterns
    )


@cache
def _pattern(pattern: str, prefix: str) -> re.Pattern[str]:
    body = re.escape(pattern).replace(r"\*", r"[^\n]*")
    return re.compile(f"^(?:{re.escape(prefix)})?{body}$", re.MULTILINE)


_registered: dict[str, tuple[Scheme, ...]] = {}
"""The schemes of the maps that the user registered, by library."""


def register_map(source: str | PathLike[str] | Mapping[str, Any]) -> str:
    """Add a library's name map, for loading and saving; see `archc.weights.naming.schemes` for what a map says.

    The maps that the environment variable `ARCHC_MAPS` names, separated as in `PATH`, are registered without a call.

    Args:
        source: a YAML file, or its content. A map is data: nothing in it is run.

    Returns:
        The library's name, for `source=` and `names=`. A library that was registered before is replaced.

    Raises:
        WeightsError: a map that cannot be read, that has mistakes, or that has the name of a bundled library.
    """
    shown, data = _opened(source)
    library, schemes = _checked(shown, data)
    if library in {scheme.library for scheme in _bundled()} or library in (ARCHC, AUTO):
        raise refuse("weights-map", f"{shown} is a map of `{library}`, which archc has", help="rename its `library`")
    _registered[library] = schemes
    return library


def libraries() -> list[str]:
    """Every source that can be named, archc's own first."""
    return [ARCHC, *dict.fromkeys(scheme.library for scheme in schemes())]


def schemes() -> tuple[Scheme, ...]:
    """Every scheme of every library, the bundled ones first."""
    _register_environment(os.environ.get(MAPS, ""))
    return (*_bundled(), *(scheme for found in _registered.values() for scheme in found))


def of_library(source: str) -> list[Scheme]:
    """The schemes of one library; of all, for `auto`.

    Raises:
        WeightsError: no such library.
    """
    if source == AUTO:
        return list(schemes())
    if source not in libraries():
        names = [AUTO, *libraries()]
        message = f"there is no source of weights `{source}`"
        raise refuse("weights-source", message, help=did_you_mean(source, names) or one_of(names))
    return [scheme for scheme in schemes() if scheme.library == source]


@cache
def _register_environment(paths: str) -> None:
    for path in paths.split(os.pathsep):
        if path:
            register_map(path)


@cache
def _files() -> Mapping[str, Any]:
    """The bundled maps by library, as they are written."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    files = [yaml.load(path.read_bytes(), Loader=loader) for path in sorted(DIRECTORY.glob("*.yaml"))]
    files.sort(key=lambda file: file["library"] != "torchvision")  # ResNet's names are torchvision's, and timm's too
    return {file["library"]: file for file in files}


@cache
def _bundled() -> tuple[Scheme, ...]:
    return tuple(scheme for file in _files().values() for scheme in _read(file, _files()))


def _opened(source: str | PathLike[str] | Mapping[str, Any]) -> tuple[str, Any]:
    """How messages call a map, and its content."""
    if isinstance(source, Mapping):
        return "the map", source
    path = Path(fspath(source))
    try:
        return f"`{path}`", yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise refuse("weights-map", f"`{path}` cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        problem = " ".join(str(error).split())
        raise refuse("weights-map", f"`{path}` is no YAML: {problem}") from None


def _checked(shown: str, data: Any) -> tuple[str, tuple[Scheme, ...]]:
    library = data.get("library") if isinstance(data, Mapping) else None
    its = data.get("schemes") if isinstance(data, Mapping) else None
    if not (isinstance(library, str) and isinstance(its, Mapping) and its and set(data) == {"library", "schemes"}):
        raise refuse("weights-map", f"{shown} is no name map", help="a map has the keys `library` and `schemes`")
    try:
        return library, tuple(_read(data, {**_files(), library: data}))
    except ValidationError as error:
        notes = [f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()[:5]]
        raise refuse("weights-map", f"{shown} has mistakes", notes=notes) from None
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise refuse("weights-map", f"{shown} has mistakes: {type(error).__name__}: {error}") from None


def _read(file: Mapping[str, Any], files: Mapping[str, Any]) -> Iterable[Scheme]:
    for name, data in file["schemes"].items():
        written = _resolved(data, file["library"], files)
        yield Scheme.model_validate({**written, "library": file["library"], "name": name})


def _resolved(data: Mapping[str, Any], library: str, files: Mapping[str, Any]) -> Mapping[str, Any]:
    """A scheme with what it takes over from another."""
    if "same_as" in data:
        return _other(data["same_as"], library, files)
    if "extends" not in data:
        return data
    own = {key: value for key, value in data.items() if key not in ("extends", "moved")}
    base, moved = _other(data["extends"], library, files), data.get("moved")
    rows = [row if moved is None else {**row, "name": _moved(row["name"], moved)} for row in base["rows"]]
    return {**base, **own, "rows": [*own.get("rows", []), *(row for row in rows if row["at"] != "head")]}


def _other(name: str, library: str, files: Mapping[str, Any]) -> Mapping[str, Any]:
    before, _, scheme = name.rpartition("/")
    return _resolved(files[before or library]["schemes"][scheme], before or library, files)


def _moved(name: str, moved: Mapping[str, str]) -> str:
    """A dotted name with the prefix `from` replaced; an empty `from` is before every name."""
    rest = name.removeprefix(moved["from"]).removeprefix(".")
    return f"{moved['to']}.{rest}" if rest else moved["to"]


__all__ = ["ARCHC", "AUTO", "MAPS", "Policy", "RowRule", "Scheme", "of_library", "register_map"]
