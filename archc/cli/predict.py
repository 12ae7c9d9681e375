"""`archc predict`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from archc.cli import arguments
from archc.cli.runner import CLASSES, NO_NAMES, keeping, trained

if TYPE_CHECKING:
    from archc.cli.progress import Progress
    from archc.prediction.runner import Result, Runner, Skipped
    from archc.prediction.task import Kind

BATCH = 32


class Question(NamedTuple):
    """The positional arguments, sorted."""

    network: str
    images: tuple[str, ...]
    overrides: tuple[str, ...]


class Options(NamedTuple):
    """What was asked for beside the network and its pictures; None where nothing was."""

    weights: Path | None
    top: int | None
    threshold: float | None
    classes: str | None
    output: Path | None
    force: bool
    batch_size: int | None
    device: str
    as_json: bool


def _parse(context: click.Context, _: click.Parameter, words: tuple[str, ...]) -> Question:
    from archc.prediction.sources import looks_like_picture

    overrides = tuple(word for word in words if arguments.split([word]).overrides and not looks_like_picture(word))
    named = tuple(word for word in words if word not in overrides)
    if not named:
        raise click.UsageError(
            "Name a network: a spec with `--weights`, or what `archc build -o` wrote; then pictures.", context
        )
    if len(named) == 1:
        raise click.UsageError(f"Name pictures after `{named[0]}`: files, directories, or globs in quotes.", context)
    return Question(named[0], named[1:], overrides)


@click.command(short_help="Predict with a trained network: classes, masks or boxes.")
@click.argument("question", nargs=-1, callback=_parse, metavar="NETWORK IMAGE... [KEY=VALUE]...")
@click.option(
    "--weights", type=click.Path(path_type=Path), help="The checkpoint: of archc, or of a library that it knows."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Draw the mask or the boxes over the picture into this file; of several pictures, into this directory.",
)
@arguments.force
@click.option(
    "--top",
    type=click.IntRange(min=1),
    help=f"Classes per picture, or boxes.  [default: {CLASSES} classes; of many pictures, 1 on its line; all boxes]",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Leave out boxes that score less than this.  [default: 0.5, or what the spec says if that is more]",
)
@click.option(
    "--classes",
    metavar="FILE",
    help=f"Class names, one a line; `{NO_NAMES}` for numbers.  "
    "[default: ImageNet's for 1000 classes, VOC's for masks of 21, COCO's for boxes of 91]",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help=f"Pictures at a time, if their sizes are the same.  [default: {BATCH} to classify, else 1]",
)
@click.option(
    "--device", default="cpu", show_default=True, help="Where to compute, in torch's words: cuda, cuda:1, mps."
)
@arguments.as_json
@arguments.allow_blocks
def predict(question: Question, **options: Any) -> int:
    """Tell what is in pictures, prepared as the spec's `input` says.

    What a network does follows from its spec: a vector of scores classifies a picture, an image of scores each of its
    pixels, and a `detector` puts boxes around objects, told by their corners x1 y1 x2 y2 in pixels. Of several outputs,
    `out` is shown, else the first.

    NETWORK is a spec with its `--weights`, or what needs nothing else: the directory or the `model.safetensors` that
    `archc build -o` wrote, or a `.keras` file of archc's, which Keras runs. IMAGE is a file, a directory (the pictures
    directly inside), or a glob in quotes. A picture that cannot be read is skipped and reported; the exit code is then
    1.
    """
    from archc.blocks.lower import lower
    from archc.cli.drawings import places
    from archc.cli.network import find
    from archc.prediction.sources import pictures
    from archc.prediction.task import task_of

    asked = Options(**options)
    if asked.force and asked.output is None:
        raise click.UsageError("`--force` overwrites what `-o` names, and there is no `-o`.")
    images = pictures(question.images)
    spec, checkpoint = find(question.network, question.overrides, asked.weights)
    spec = keeping(spec, asked.threshold)
    graph = lower(spec)  # its warnings are advice for who writes a spec, not for who uses a network
    task = task_of(spec, graph)
    _check(asked, task.kind, spec.name)
    drawings = {} if asked.output is None else places(asked.output, images, asked.force)
    if asked.batch_size is None:
        asked = asked._replace(batch_size=BATCH if task.kind == "classes" else 1)
    runner = trained(
        spec,
        graph,
        task,
        checkpoint,
        classes=asked.classes,
        top=asked.top,
        threshold=asked.threshold,
        device=asked.device,
    )
    return _show(task.kind, runner, images, asked, drawings)


_DOES = {"classes": "classifies pictures", "mask": "gives each pixel its class", "boxes": "puts boxes around objects"}
_FITS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "top": (("classes", "boxes"), "`--top` limits the classes of a picture, or the boxes in it"),
    "threshold": (("boxes",), "`--threshold` leaves out boxes"),
    "output": (("mask", "boxes"), "`-o` draws masks or boxes"),
}


def _check(asked: Options, kind: Kind, name: str) -> None:
    """Refuse an option that this task has no use for, rather than pass over it."""
    for option, (kinds, use) in _FITS.items():
        if kind not in kinds and getattr(asked, option) is not None:
            raise click.UsageError(f"{use}, but `{name}` {_DOES[kind]}.")


def _show(
    kind: Kind, runner: Runner[Any], images: Sequence[Path], asked: Options, drawings: Mapping[Path, Path]
) -> int:
    from archc.cli.output import err, out, print_json, show_diagnostics
    from archc.cli.progress import Progress
    from archc.prediction.runner import Skipped
    from archc.reporting.predictions import printer

    console = out()
    show = printer(console, kind, images, brief=len(images) > 1 and asked.top is None)
    found: list[dict[str, Any]] = []
    written: list[Path] = []
    skipped = 0
    with warnings.catch_warnings(), Progress("predicting", len(images)) as progress:
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files; what makes one unusable is an error
        for batch in _batches(runner, images, asked.batch_size or 1, progress):
            drawn = {result.image: place for result in batch if (place := _drawn(result, drawings))}
            written += drawn.values()
            with progress.aside():
                for result in batch:
                    if isinstance(result, Skipped):
                        show_diagnostics([result.error.diagnostic])
                        skipped += 1
                    elif not asked.as_json:
                        show(result)
            if asked.as_json:
                found += [_entry(result, drawn.get(result.image)) for result in batch]
    if asked.as_json:
        print_json(found)
    elif written:
        what = written[0] if len(written) == 1 else f"{len(written):,} pictures into {written[0].parent}"
        console.print(f"\nwrote {what}")
    if skipped and len(images) > 1:
        err().print(f"skipped {skipped:,} of {len(images):,} pictures")
    return 1 if skipped else 0


def _drawn(result: Any, drawings: Mapping[Path, Path]) -> Path | None:
    """Draw a result, if it is to be drawn; returns where."""
    from archc.cli.drawings import save
    from archc.prediction.runner import Skipped

    place = drawings.get(result.image)
    if place is None or isinstance(result, Skipped):
        return None
    from archc.prediction.draw import draw

    save(draw(result), place)
    return place


def _entry(result: Result | Skipped, drawn: Path | None) -> dict[str, Any]:
    return {**result.to_dict(), "drawn": str(drawn)} if drawn else result.to_dict()


def _batches(
    runner: Runner[Result], images: Sequence[Path], size: int, progress: Progress
) -> Iterator[list[Result | Skipped]]:
    """Results as they are done, so many at a time that the bar gives way to the text once for each batch."""
    from archc.prediction.runner import predict

    batch: list[Result | Skipped] = []
    for result in predict(runner, images, size):
        batch.append(result)
        progress.advance()
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
