"""Diagnostics for people, for editors and for machines: one renderer each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from rich.cells import cell_len
from rich.text import Text

from archc.document.diagnostics import Diagnostic, Span, visible

TAB = 4
"""Columns that a tab is shown as."""
WIDEST = 120
"""Columns of source shown at most; a longer line is cut around the caret."""
LONGEST = 1_000
"""Characters on each side of the caret that are looked at; most take a column each, so these fill the widest line."""

_COLOURS = {"error": "bold red", "warning": "bold yellow"}
_GUTTER = "blue"


def full(diagnostic: Diagnostic) -> Text:
    """The header, the place, the source line with carets and label below, notes and help: as rustc does it."""
    colour = _COLOURS[diagnostic.severity]
    text = Text.assemble(
        (f"{diagnostic.severity}[{diagnostic.id}]", colour), (f": {visible(diagnostic.message)}", "bold")
    )
    span, remarks = diagnostic.span, [("note", note) for note in diagnostic.notes]
    gutter = ""
    if span is not None:
        gutter = " " * len(str(span.line))
        text.append(f"\n{gutter}--> ", _GUTTER)
        text.append("override" if span.source.kind == "override" else visible(str(span)))
        text.append_text(_excerpt(span, gutter, visible(diagnostic.label), colour))
    if diagnostic.label and (span is None or not span.source.text):
        remarks.append(("help", diagnostic.label))
    if diagnostic.help:
        remarks.append(("help", diagnostic.help))
    for kind, remark in remarks:
        indent = f"\n{gutter} = "
        text.append(indent, _GUTTER)
        text.append(f"{kind}: ", "bold")
        text.append(visible(remark, line_breaks=True).replace("\n", "\n" + " " * (len(indent) + len(kind) + 1)))
    return text


def _excerpt(span: Span, gutter: str, label: str, colour: str) -> Text:
    """The source line and the caret line; empty where there is no text to show."""
    raw = span.source.line(span.line)
    if not raw:
        return Text()
    start = min(span.column - 1, len(raw))
    # Of a line without end, only what may be shown is looked at: there may be thousands of problems in it.
    first, end = max(0, start - LONGEST), start + min(span.length, LONGEST)
    pieces = (raw[first:start], raw[start:end], raw[end : end + LONGEST])
    before, marked, after = _cut(*(visible(piece, tab=" " * TAB) for piece in pieces))
    number = "" if span.source.kind == "override" else str(span.line)
    text = Text(f"\n{gutter} |\n", _GUTTER)
    text.append(f"{number:>{len(gutter)}} | ", _GUTTER)
    text.append(f"{before}{marked}{after}".rstrip(), "not bold default")
    text.append(f"\n{gutter} | ", _GUTTER)
    carets = "^" * max(1, cell_len(marked))
    text.append(f"{' ' * cell_len(before)}{carets} {label}".rstrip(), colour)
    return text


def _cut(before: str, marked: str, after: str) -> tuple[str, str, str]:
    """A line in three pieces, shortened until it fits: what is marked is kept longest."""
    if cell_len(before + marked + after) <= WIDEST:
        return before, marked, after
    marked = _head(marked, WIDEST * 2 // 3)
    room = WIDEST - cell_len(marked)
    after_room = max(room // 2, room - cell_len(before))
    after = _head(after, after_room)
    return _head(before[::-1], room - cell_len(after))[::-1], marked, after


def _head(text: str, width: int) -> str:
    """The start of a text, within a width; `…` for what is left out."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[: min(len(text) - 1, width)]
    return text + "…"


def concise(diagnostic: Diagnostic) -> Text:
    """One line: `specs/my.yaml:31:8: error[unknown-key]: …`."""
    where = f"{visible(str(diagnostic.span))}: " if diagnostic.span else ""
    hints = "; ".join(visible(part) for part in (diagnostic.label, diagnostic.help) if part)
    return Text.assemble(
        where,
        (f"{diagnostic.severity}[{diagnostic.id}]", _COLOURS[diagnostic.severity]),
        f": {visible(diagnostic.message)}",
        f" ({hints})" if hints else "",
    )


def github(diagnostic: Diagnostic) -> Text:
    """A workflow command, which GitHub shows as an annotation at the line."""
    span, properties = diagnostic.span, {}
    if span is not None and span.source.kind == "file":
        properties = {"file": span.source.name, "line": str(span.line), "col": str(span.column)}
        properties["endColumn"] = str(span.column + span.length)
    properties["title"] = f"archc {diagnostic.id}"
    where = f"{span}: " if span is not None and span.source.kind != "file" else ""
    lines = (diagnostic.message, diagnostic.label, *diagnostic.notes, diagnostic.help)
    body = "\n".join(part for part in lines if part)
    shown = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return Text(f"::{diagnostic.severity} {shown}::{_data(where + body)}")


def _data(text: str) -> str:
    return visible(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def as_json(diagnostics: Iterable[Diagnostic]) -> str:
    """A JSON list of `Diagnostic.to_dict()`."""
    return json.dumps([diagnostic.to_dict() for diagnostic in diagnostics], indent=2)


LINES: dict[str, Callable[[Diagnostic], Text]] = {"full": full, "concise": concise, "github": github}
"""The renderers that give each diagnostic its own text."""

FORMATS: Sequence[str] = (*LINES, "json")
"""Every format's name."""
