"""`archc predict`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from archc.cli import arguments

if TYPE_CHECKING:
    from archc.tasks.classify import Classified, Classifier

NO_NAMES = "none"


class Question(NamedTuple):
    """The positional arguments, sorted."""

    network: str
    images: tuple[str, ...]
    overrides: tuple[str, ...]


class Form(NamedTuple):
    """How predictions are shown."""

    top: int | None
    as_json: bool
    batch_size: int


def _parse(context: click.Context, _: click.Parameter, words: tuple[str, ...]) -> Question:
    from archc.tasks.sources import looks_like_picture

    overrides = tuple(word for word in words if arguments.split([word]).overrides and not looks_like_picture(word))
    named = tuple(word for word in words if word not in overrides)
    if not named:
        raise click.UsageError(
            "Name a network: a spec with `--weights`, or what `archc build -o` wrote; then pictures.", context
        )
    if len(named) == 1:
        raise click.UsageError(f"Name pictures after `{named[0]}`: files, directories, or globs in quotes.", context)
    return Question(named[0], named[1:], overrides)


@click.command(short_help="Classify pictures with a trained network.")
@click.argument("question", nargs=-1, callback=_parse, metavar="NETWORK IMAGE... [KEY=VALUE]...")
@click.option(
    "--weights", type=click.Path(path_type=Path), help="The checkpoint: of archc, or of a library that it knows."
)
@click.option(
    "--top", type=click.IntRange(min=1), help="Classes per picture.  [default: 5; of many pictures, 1 on its line]"
)
@click.option(
    "--classes",
    metavar="FILE",
    help=f"Class names, one a line; `{NO_NAMES}` for numbers.  [default: ImageNet's for 1000 classes]",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Pictures at a time.")
@click.option(
    "--device", default="cpu", show_default=True, help="Where to compute, in torch's words: cuda, cuda:1, mps."
)
@arguments.as_json
def predict(
    question: Question,
    *,
    weights: Path | None,
    top: int | None,
    classes: str | None,
    batch_size: int,
    device: str,
    as_json: bool,
) -> int:
    """Classify pictures, prepared as the spec's `input` says.

    NETWORK is a spec with its `--weights`, or the directory or the `model.safetensors` that `archc build -o` wrote,
    which needs nothing else. IMAGE is a file, a directory (the pictures directly inside), or a glob in quotes.
    A picture that cannot be read is skipped and reported; the exit code is then 1.
    """
    from archc.tasks.sources import pictures

    images = pictures(question.images)
    classifier = _classifier(question, weights, classes, device)
    return _show(classifier, images, Form(top, as_json, batch_size))


def _classifier(question: Question, weights: Path | None, classes: str | None, device: str) -> Classifier:
    import archc
    from archc.cli.counting import require
    from archc.cli.network import find
    from archc.cli.output import show_diagnostics

    spec, checkpoint = find(question.network, question.overrides, weights)
    graph = archc.lower(spec)
    torch = require("torch", "predict")
    require("torchvision", "predict")
    from archc.tasks.class_names import names_for, read_names
    from archc.tasks.classify import Classifier, class_count

    count = class_count(spec, graph)
    names = names_for(count) if classes is None else None
    if classes not in (None, NO_NAMES):
        names = read_names(Path(classes), count)
    target = _device(torch, device)
    model = archc.build(graph, device="meta")  # nothing is drawn that the checkpoint would overwrite
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", archc.SpecWarning)
        loaded = archc.load_weights(model, checkpoint)
    show_diagnostics(loaded.warnings)
    return Classifier(model, spec.input, names, target)


def _device(torch: Any, name: str) -> Any:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's several ways to say no
        reason = str(error).partition("\n")[0]
        raise click.BadParameter(f"`{name}` cannot be used here: {reason}", param_hint="'--device'") from None
    return device


def _show(classifier: Classifier, images: Sequence[Path], form: Form) -> int:
    from archc.cli.output import err, out, print_json, show_diagnostics
    from archc.cli.progress import Progress
    from archc.reporting.predictions import name_width, print_line, print_ranking

    console, width = out(), name_width(images)
    brief = len(images) > 1 and form.top is None
    found: list[dict[str, Any]] = []
    shown = skipped = 0
    with warnings.catch_warnings(), Progress("predicting", len(images)) as progress:
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files; what makes one unusable is an error
        for batch in _batches(classifier, images, form, progress):
            with progress.aside():
                for classified in batch:
                    if classified.error:
                        show_diagnostics([classified.error.diagnostic])
                        skipped += 1
                    if form.as_json:
                        found.append(classified.to_dict())
                    elif classified.error is None and brief:
                        print_line(console, classified, width)
                    elif classified.error is None:
                        if shown:
                            console.print()
                        print_ranking(console, classified)
                        shown += 1
    if form.as_json:
        print_json(found)
    if skipped and len(images) > 1:
        err().print(f"skipped {skipped:,} of {len(images):,} pictures")
    return 1 if skipped else 0


def _batches(classifier: Classifier, images: Sequence[Path], form: Form, progress: Any) -> Iterator[list[Classified]]:
    """Batches as they are done, so that the bar gives way to the text once for each."""
    batch: list[Classified] = []
    top = 5 if form.top is None else form.top
    for classified in classifier.classify(images, top, form.batch_size):
        batch.append(classified)
        progress.advance()
        if len(batch) == form.batch_size:
            yield batch
            batch = []
    yield batch
