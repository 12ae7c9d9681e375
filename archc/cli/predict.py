"""`archc predict`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from archc.cli import arguments

if TYPE_CHECKING:
    from archc.cli.progress import Progress
    from archc.prediction.predictor import Predictor
    from archc.prediction.results import Result, Skipped
    from archc.prediction.task import Kind


class Words(NamedTuple):
    """The positional arguments, sorted."""

    network: str
    images: tuple[str, ...]
    overrides: tuple[str, ...]


class Asked(NamedTuple):
    """The options. None stands for an option's default."""

    weights: Path | None
    top: int | None
    threshold: float | None
    classes: str | None
    output: Path | None
    force: bool
    batch_size: int | None
    device: str
    as_json: bool


def _parse(context: click.Context, _: click.Parameter, words: tuple[str, ...]) -> Words:
    from archc.document.diagnostics import visible
    from archc.prediction.sources import looks_like_image

    overrides = tuple(word for word in words if arguments.split([word]).overrides and not looks_like_image(word))
    named = tuple(word for word in words if word not in overrides)
    if not named:
        raise click.UsageError(
            "Name a network: a spec with `--weights`, or what `archc build -o` wrote; then images.", context
        )
    if len(named) == 1:
        message = f"Name images after `{visible(named[0])}`: files, directories, or globs in quotes."
        raise click.UsageError(message, context)
    return Words(named[0], named[1:], overrides)


@click.command(short_help="Predict with a trained network: classes, masks or boxes.")
@click.argument("words", nargs=-1, callback=_parse, metavar="NETWORK IMAGE... [KEY=VALUE]...")
@click.option(
    "--weights", type=click.Path(path_type=Path), help="The checkpoint: archc's own, or of a library that archc knows."
)
@click.option(
    "-o",
    "--output",
    type=arguments.output_path(),
    help="Draw the mask or the boxes over the image into this file; for several images, into this directory.",
)
@arguments.force
@click.option(
    "--top",
    type=click.IntRange(min=1),
    help="Classes per image, or boxes.  [default: 5 classes; for several images, 1 on its line; all boxes]",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Leave out boxes that score less than this.  [default: 0.5, or the spec's own threshold if that is higher]",
)
@click.option(
    "--classes",
    metavar="FILE",
    help="Class names, one per line; `none` for numbers.  "
    "[default: ImageNet's for 1000 classes, VOC's for masks of 21, COCO's for boxes of 91]",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help="Images at a time, if their sizes are equal.  [default: 32 to classify, else 1]",
)
@click.option(
    "--device", default="cpu", show_default=True, help="Where to compute, by torch's name: cuda, cuda:1, mps."
)
@arguments.as_json
@arguments.allow_blocks
def predict(words: Words, **options: Any) -> int:
    """Predict what is in images, prepared as the spec's `input` says.

    The network decides the task: a vector of scores classifies an image, an image of scores each of its pixels, and a
    `detector` puts boxes around objects, given by their corners x1 y1 x2 y2 in pixels. Of several outputs, `out` is
    used, else the first.

    NETWORK is a spec with its `--weights`; or a directory or a `model.safetensors` that `archc build -o` wrote; or a
    `.keras` file of archc's, which Keras runs; or a file that `archc export` wrote, which its own runtime runs. IMAGE
    is a file, a directory (for the images directly inside), or a glob in quotes. An image that cannot be read is
    skipped and reported; the exit code is then 1.
    """
    from archc.blocks.lower import lower
    from archc.cli.drawings import places
    from archc.cli.network import find
    from archc.cli.output import show_diagnostics
    from archc.prediction.exported import is_exported
    from archc.prediction.libraries import check_libraries
    from archc.prediction.sources import find_images
    from archc.prediction.task import task_of
    from archc.prediction.thresholds import keeping

    asked = Asked(**options)
    if asked.force and asked.output is None:
        raise click.UsageError("`--force` overwrites what `-o` names, and there is no `-o`.")
    images = find_images(words.images)
    if is_exported(words.network):
        return _exported(words, images, asked)
    if Path(words.network).suffix == ".safetensors":
        check_libraries()  # the file itself cannot be read without one of them
    spec, checkpoint = find(words.network, words.overrides, asked.weights)
    graph = lower(spec)  # its warnings are advice for authors of specs, not for users of networks
    graph = keeping(graph, asked.threshold)
    task = task_of(graph, spec)
    check_libraries()
    from archc.prediction.network import Options, default_batch, from_checkpoint

    _check(asked, task.kind, graph.name)
    drawings = {} if asked.output is None else places(asked.output, images, asked.force)
    chosen = Options(asked.top, asked.threshold, asked.classes)
    loaded = from_checkpoint(graph, task, checkpoint, chosen, asked.device)
    show_diagnostics(loaded.warnings)
    asked = asked._replace(batch_size=asked.batch_size or default_batch(task.kind))
    return _show(task.kind, loaded.predictor, images, asked, drawings)


def _exported(words: Words, images: Sequence[Path], asked: Asked) -> int:
    """The same for an exported file."""
    from archc.cli.drawings import places
    from archc.cli.output import show_diagnostics
    from archc.prediction.exported import from_exported, open_exported
    from archc.prediction.libraries import check_libraries

    if asked.weights is not None or words.overrides:
        raise click.UsageError("An exported file has its weights and settings: leave `--weights` and KEY=VALUE out.")
    check_libraries()
    from archc.prediction.network import Options, default_batch

    file = open_exported(words.network)
    _check(asked, file.task.kind, file.graph.name)
    drawings = {} if asked.output is None else places(asked.output, images, asked.force)
    loaded = from_exported(file, Options(asked.top, asked.threshold, asked.classes), asked.device)
    show_diagnostics(loaded.warnings)
    asked = asked._replace(batch_size=asked.batch_size or default_batch(file.task.kind))
    return _show(file.task.kind, loaded.predictor, images, asked, drawings)


_WRITTEN: Mapping[str, str] = {"top": "--top", "threshold": "--threshold", "output": "-o"}


def _check(asked: Asked, kind: Kind, network: str) -> None:
    """Refuse an option that does not fit the task, rather than ignore it."""
    from archc.document.diagnostics import visible
    from archc.prediction.network import unused_option

    given = {option: written for option, written in _WRITTEN.items() if getattr(asked, option) is not None}
    if reason := unused_option(kind, network, given):
        raise click.UsageError(f"{visible(reason)}.")


def _show(
    kind: Kind, predictor: Predictor[Any], images: Sequence[Path], asked: Asked, drawings: Mapping[Path, Path]
) -> int:
    from archc.cli.output import err, out, print_json, show_diagnostics
    from archc.cli.progress import Progress
    from archc.document.diagnostics import visible
    from archc.prediction.results import Skipped
    from archc.reporting.predictions import printer

    console = out()
    show = printer(console, kind, images, brief=len(images) > 1 and asked.top is None)
    found: list[dict[str, Any]] = []
    written: list[Path] = []
    skipped = undrawn = 0
    with warnings.catch_warnings(), Progress("predicting", len(images)) as progress:
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files; what makes one unusable is an error
        for batch in _batches(predictor, images, asked.batch_size or 1, progress):
            drawn, failed = _drawn(batch, drawings, asked.force)
            written += drawn.values()
            undrawn += len(failed)
            with progress.aside():
                for result in batch:
                    if isinstance(result, Skipped):
                        show_diagnostics([result.error.diagnostic])
                        skipped += 1
                    elif not asked.as_json:
                        show(result)
                for message in failed:
                    err().print(f"Error: {visible(message)}")
            if asked.as_json:
                found += [_entry(result, drawn.get(result.path)) for result in batch]
    if asked.as_json:
        print_json(found)
    elif written:
        where = written[0] if len(written) == 1 else f"{len(written):,} images into {written[0].parent}"
        console.print(f"\nwrote {visible(str(where))}")
    if skipped and len(images) > 1:
        err().print(f"skipped {skipped:,} of {len(images):,} images")
    return 1 if skipped or undrawn else 0


def _drawn(
    batch: Sequence[Result | Skipped], drawings: Mapping[Path, Path], force: bool
) -> tuple[dict[Path | None, Path], list[str]]:
    """Draw what is to be drawn: the files that were written, by image, and why others could not be."""
    from archc.cli.drawings import save
    from archc.prediction.results import Skipped

    drawn: dict[Path | None, Path] = {}
    failed: list[str] = []
    for result in batch:
        place = None if result.path is None else drawings.get(result.path)
        if place is None or isinstance(result, Skipped):
            continue
        from archc.prediction.draw import draw

        try:
            save(draw(result), place, overwrite=force)
            drawn[result.path] = place
        except click.ClickException as error:
            failed.append(error.message)
    return drawn, failed


def _entry(result: Result | Skipped, drawn: Path | None) -> dict[str, Any]:
    return {**result.to_dict(), "drawn": str(drawn)} if drawn else result.to_dict()


def _batches(
    predictor: Predictor[Result], images: Sequence[Path], size: int, progress: Progress
) -> Iterator[list[Result | Skipped]]:
    """Results in groups of `size`, so that the bar gives way to text only once for each group."""
    from archc.prediction.predictor import run

    batch: list[Result | Skipped] = []
    for result in run(predictor, images, size):
        batch.append(result)
        progress.advance()
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
