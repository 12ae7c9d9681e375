"""`archc schema`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from archc.cli import arguments


@click.command(short_help="The JSON Schema of specs, for editors.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@arguments.force
def schema(output: Path | None, force: bool) -> None:
    """Print the JSON Schema of specs, for completion and checks in an editor."""
    if output is not None and not force:
        arguments.refuse_existing([output])
    from archc.blocks import REGISTRY
    from archc.language.json_schema import json_schema

    text = json.dumps(json_schema(REGISTRY), indent=2) + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")
