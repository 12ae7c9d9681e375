"""`archc convert`."""

from __future__ import annotations

from pathlib import Path

import click

from archc.cli import arguments
from archc.cli.arguments import Request


@click.command(short_help="Convert trained weights to another library's network.")
@arguments.request()
@click.option(
    "--weights", type=click.Path(path_type=Path), help="The checkpoint: archc's own, or of a library that archc knows."
)
@click.option("--to", type=click.Choice(["keras"]), required=True, help="The library to convert to.")
@click.option("-o", "--output", type=arguments.output_path(), required=True, help="The `.keras` file to write.")
@click.option("--source", default="auto", show_default=True, help="The library whose names the checkpoint has.")
@arguments.force
def convert(request: Request, *, weights: Path | None, to: str, output: Path, source: str, force: bool) -> None:
    """Build a spec's network in another library, with the weights of a checkpoint.

    SPEC is a spec with its `--weights`, or the directory or the `model.safetensors` that `archc build -o` wrote. Every
    tensor is accounted for. The file contains its spec, so `archc predict` needs nothing else. Keras opens the file
    without archc, unless the network has a layer that Keras lacks; then `import archc.backends.keras` first.
    """
    import archc
    from archc.cli.backends import keras, require_backend
    from archc.cli.loading import lowered
    from archc.cli.network import find
    from archc.cli.output import out, show_diagnostics
    from archc.reporting.console import line
    from archc.weights import read_state

    if output.suffix != ".keras":
        raise click.UsageError(f"`{output}` does not end in `.keras`, the format of Keras 3.")
    if not force:
        arguments.refuse_existing([output])
    spec, checkpoint = find(request.spec, request.overrides, weights)
    arguments.refuse_sources([output], [checkpoint])
    graph = lowered(spec)
    require_backend(to, graph)
    state, report = read_state(checkpoint, graph, source)
    model = archc.build(graph, backend=to, state=state)
    keras().save(model, output, overwrite=force)
    show_diagnostics(report.warnings)
    console = out()
    console.print(line((report.file, "bold"), " fits ", (spec.name, "bold")))
    for said in report.lines():
        console.print(said)
    own = sorted({type(layer).__name__ for layer in model.layers if type(layer).__module__.startswith("archc.")})
    needs = f"needs archc for {', '.join(own)}" if own else "opens without archc"
    console.print(f"wrote {output}: {report.tensors} tensors, {report.params:,} parameters; {needs}")
