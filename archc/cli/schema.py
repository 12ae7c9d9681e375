"""`archc schema`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from archc.cli import arguments


@click.command(short_help="The JSON Schema of specs, for editors.")
@click.option("-o", "--output", type=arguments.output_path(directory=False), help="Write to this file.")
@arguments.force
def schema(output: Path | None, force: bool) -> None:
    """Print the JSON Schema of specs, with which editors complete and check them."""
    if output is not None and not force:
        arguments.refuse_existing([output])
    from archc.blocks import REGISTRY
    from archc.files import write_text
    from archc.language.json_schema import json_schema

    text = json.dumps(json_schema(REGISTRY), indent=2) + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        write_text(output, text, overwrite=force)
