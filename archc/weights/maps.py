"""The name maps: what each library calls the parts of a network, read from the YAML files in `maps/`.

A file is a library; a layout in it is one scheme of names. Its rules are tried in order for every row that owns
weights, and the first that fits names it: where the row stands (`at`, `row`, the first and the last of `rows`, `head`,
`heads`), what it is (`label`), what it has (`has`) or what else is in its group (`group_has`); for what a detector
calls, the pattern of its name (`call`) and the `stage` in it. `name` is the prefix, `parts` maps archc's names inside
the row to that library's names below the prefix; a list stands for a tensor that the library keeps in pieces.
In names, `{row}`, `{block}`, `{group}`, `{index}`, `{head}` and `{level}` are `skeleton.Place`'s numbers, `{part}`
counts the row's weighted parts, `{*}` is what `*` stood for in archc's name and `{#scope}` the number of parts of a
scope; `{group+1}` counts from one, `{row-13}` from the fourteenth row.

A layout that `extends` another of its file adds the other's rules for everything but heads to its own, the names
`moved` `from` one prefix `to` another: a detector keeps its backbone under a name of its own. `same_as` is another
file's layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from archc.document.diagnostics import did_you_mean, one_of
from archc.ir import ops
from archc.weights.error import refuse
from archc.weights.layout import Kind
from archc.weights.skeleton import Part

ARCHC = "archc"
"""The source whose names are the module's own; it needs no map."""
AUTO = "auto"

DIRECTORY = Path(__file__).parent / "maps"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RowRule(_Data):
    """How a library names one kind of row; see the module's text."""

    at: Part
    row: int | None = None
    rows: list[int] | None = None
    call: str | None = None
    stage: str | None = None
    head: int | None = None
    heads: int | None = None
    label: str | None = None
    has: str | None = None
    group_has: str | None = None
    name: str
    kind: Kind | None = Field(None, alias="as")
    """What the row's layers are there, where it may be something else than here."""
    parts: dict[str, str | list[str]]


class Policy(_Data):
    """What a library does that no tensor's shape shows; what is not stated is not known."""

    name: str
    files: list[str] = []
    """Patterns of file names that this policy is known by, where names inside the file do not tell."""
    eps: list[float] | None = None
    momentum: list[float] | None = None
    padding: ops.PadMode | None = None
    mean: float | list[float] | None = None
    std: float | list[float] | None = None
    channel_order: Literal["rgb", "bgr"] | None = None
    activations: list[str] | None = None


class Layout(_Data):
    """One scheme of names."""

    library: str
    name: str
    signature: list[str]
    """Patterns that all have a name in such a checkpoint; one that begins with `!` must have none."""
    prefix: str = ""
    """A prefix that all names but the head's have, and that a backbone's own file lacks."""
    policies: list[Policy]
    rows: list[RowRule]

    @property
    def heads(self) -> list[str]:
        """The prefixes of every head that the library has, whatever a network's own is like."""
        return [rule.name.partition(".{")[0] for rule in self.rows if rule.at == "head"]

    def signs(self, names: Iterable[str]) -> bool:
        """Whether these look like the names of this layout."""
        names = list(names)
        return all(
            pattern.startswith("!") != any(_fits(name, self.prefix, pattern.removeprefix("!")) for name in names)
            for pattern in self.signature
        )


def _fits(name: str, prefix: str, pattern: str) -> bool:
    return fnmatchcase(name.removeprefix(prefix), pattern)


def libraries() -> list[str]:
    """Every source that can be named, archc's own first."""
    return [ARCHC, *dict.fromkeys(layout.library for layout in layouts())]


@cache
def layouts() -> tuple[Layout, ...]:
    """Every layout of every library."""
    files = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(DIRECTORY.glob("*.yaml"))}
    return tuple(_read(files))


def _read(files: dict[str, Any]) -> Iterator[Layout]:
    for file in sorted(files.values(), key=lambda file: file["library"] != "torchvision"):
        for name, data in file["layouts"].items():
            library, _, other = data.get("same_as", "").partition("/")
            written = files[library]["layouts"][other] if library else _extended(data, file["layouts"])
            yield Layout.model_validate({**written, "library": file["library"], "name": name})


def _extended(data: dict[str, Any], layouts: dict[str, Any]) -> dict[str, Any]:
    """A layout with what it takes over from the one it extends."""
    if "extends" not in data:
        return data
    own = {key: value for key, value in data.items() if key not in ("extends", "moved")}
    base, moved = layouts[data["extends"]], data["moved"]
    rows = [{**row, "name": _moved(row["name"], **moved)} for row in base["rows"] if row["at"] != "head"]
    return {**base, **own, "rows": [*own.get("rows", []), *rows]}


def _moved(name: str, *, to: str, **source: str) -> str:
    """A dotted name with the leading `from` replaced; an empty `from` leads every name."""
    rest = name.removeprefix(source["from"]).removeprefix(".")
    return f"{to}.{rest}" if rest else to


def of_library(source: str) -> list[Layout]:
    """The layouts of one library; of all, for `auto`.

    Raises:
        WeightsError: no such library.
    """
    if source == AUTO:
        return list(layouts())
    if source not in libraries():
        names = [AUTO, *libraries()]
        message = f"there is no source of weights `{source}`"
        raise refuse("weights-source", message, help=did_you_mean(source, names) or one_of(names))
    return [layout for layout in layouts() if layout.library == source]
