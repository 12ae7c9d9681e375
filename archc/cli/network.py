"""From what names a trained network on the command line to its spec and its checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from archc.cli.loading import load, show_warnings
from archc.weights.files import MODEL_FILES, SPEC_FILE

if TYPE_CHECKING:
    from archc.language.schema import Spec


_CHECKPOINTS = (".pth", ".pt", ".bin", ".ckpt")


class Trained(NamedTuple):
    """A network's spec, and the file its weights are in."""

    spec: Spec
    weights: Path


def find(source: str, overrides: Sequence[str], weights: Path | None = None) -> Trained:
    """The spec and the checkpoint of a spec with `--weights`, or of what `archc build -o` wrote.

    Raises:
        click.UsageError: there are no weights, or not the files that `archc build -o` writes.
        SpecError: as `archc.load`.
    """
    from archc.prediction.sources import SUFFIXES

    path = Path(source)
    if path.is_dir():
        models = [path / name for name in MODEL_FILES.values()]
        spec, own = path / SPEC_FILE, next((model for model in models if model.is_file()), models[0])
        _check_directory(path, [spec] if weights else [spec, own])
        return Trained(load(str(spec), overrides, built=True), weights or own)
    if path.suffix == ".keras":
        return Trained(_stated(path, overrides), weights or path)
    if path.suffix == ".safetensors":
        return Trained(_embedded(path, overrides), weights or path)
    if path.suffix in _CHECKPOINTS:
        raise click.UsageError(f"`{source}` is a checkpoint, and no spec is in it: write SPEC --weights {source}")
    if path.suffix.lower() in SUFFIXES:
        raise click.UsageError(f"`{source}` is a picture; the network comes first.")
    if weights is None:
        raise click.UsageError(
            f"`{source}` is a spec without weights, and a network that was never trained predicts nothing of use: "
            "name a checkpoint with `--weights FILE`, or a directory that `archc build -o` wrote."
        )
    return Trained(load(source, overrides), weights)


def _check_directory(directory: Path, needed: Sequence[Path]) -> None:
    missing = [file.name for file in needed if not file.is_file()]
    if missing:
        raise click.UsageError(
            f"`{directory}` holds no {' and no '.join(missing)}; `archc build SPEC -o {directory}` writes both."
        )


def _embedded(path: Path, overrides: Sequence[str]) -> Spec:
    """The spec that archc wrote into the metadata of its weights."""
    from archc.cli.counting import require

    require("torch", "predict")
    from archc.ir.graph import SPEC
    from archc.weights.read import read

    return _from_text(path, read(path).metadata.get(SPEC), overrides)


def _stated(path: Path, overrides: Sequence[str]) -> Spec:
    """The spec that a network of archc's states in the file that Keras saved it to."""
    from archc.weights.keras_file import spec_text

    return _from_text(path, spec_text(path), overrides)


def _from_text(path: Path, text: str | None, overrides: Sequence[str]) -> Spec:
    from archc.document.diagnostics import Source, SpecWarning
    from archc.language.load import stated
    from archc.weights.origin import KNOWN

    if text is None:
        raise click.UsageError(f"archc did not write `{path}`: no spec is in it. Name the spec: SPEC --weights {path}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        spec = stated(Source(str(path), text), path.stem, overrides, blocks=KNOWN)
    show_warnings(spec, built=True)
    return spec
