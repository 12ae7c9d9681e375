"""From the name of a trained network to its spec and its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

from archc.blocks import REGISTRY
from archc.document import overrides
from archc.document.diagnostics import Diagnostic, Source, fail, no_python_warnings
from archc.document.document import Document
from archc.document.tree import Map
from archc.document.yaml import read_file, read_text
from archc.language.load import kind
from archc.language.load import load as load_spec
from archc.language.schema import Spec
from archc.prediction.errors import PredictionError
from archc.prediction.sources import SUFFIXES
from archc.weights.files import MODEL_FILES, SPEC_FILE

_CHECKPOINTS = (".pth", ".pt", ".bin", ".ckpt")


class Trained(NamedTuple):
    """A network's spec, and the file with its weights.

    `warnings` are those that the user can act on: a network that was built before is only warned of for its overrides.
    """

    spec: Spec
    weights: Path
    warnings: tuple[Diagnostic, ...] = ()


def find(
    source: str | PathLike[str] | Mapping[str, Any],
    changes: Sequence[str] = (),
    weights: str | PathLike[str] | None = None,
    *,
    allow: str | Sequence[str] = (),
) -> Trained:
    """The spec and the checkpoint of a network.

    `source` is a directory that `archc build -o` wrote, a `.safetensors` or `.keras` file of archc's, or with `weights`
    also a spec's path, bundled name or mapping. `changes` are overrides; `allow` is that of `archc.load`.

    A spec inside a directory or a file of weights may come from a stranger, with the weights. It is read as data:
    nothing is imported for it, whatever is allowed; it calls no resolvers and reads no other file.

    Raises:
        PredictionError: there are no weights, or not the files that `archc build -o` writes.
        SpecError: as `archc.load`; or a spec beside the weights that names Python code or calls a resolver.
        WeightsError: a file of weights that cannot be read.
    """
    checkpoint = None if weights is None else _model_in(_regular(Path(fspath(weights))))
    if isinstance(source, Mapping):
        return _named(source, changes, _needed("the spec", checkpoint), allow)
    name = fspath(source)
    path = Path(name)
    if path.is_dir():
        spec, own = path / SPEC_FILE, _model_in(path)
        _check_directory(path, [spec] if checkpoint else [spec, own])
        return _built(read_file(spec), path.name, changes, checkpoint or own)
    if path.suffix in (".keras", ".safetensors"):
        text = _stated_in(_regular(path))
        return _built(read_text(Source(name, text)), path.stem, changes, checkpoint or path)
    if path.suffix in _CHECKPOINTS:
        message = f"`{name}` is a checkpoint, and no spec is in it: write SPEC --weights {name}"
        raise PredictionError(Diagnostic("no-weights", message, help=_IN_PYTHON))
    if path.suffix.lower() in SUFFIXES:
        raise PredictionError(Diagnostic("no-weights", f"`{name}` is an image; the network comes first"))
    return _named(name, changes, _needed(f"`{name}`", checkpoint), allow)


_TRUST = "where you trust it, name the spec itself: SPEC --weights FILE"
_IN_PYTHON = "in Python: `archc.predict(SPEC, images, weights=FILE)`"


def _needed(spec: str, checkpoint: Path | None) -> Path:
    if checkpoint is not None:
        return checkpoint
    message = f"{spec} is a spec without weights, and a network that was never trained predicts nothing of use"
    help = "name a checkpoint with `--weights FILE`, or a directory that `archc build -o` wrote; " + _IN_PYTHON
    raise PredictionError(Diagnostic("no-weights", message, help=help))


def _named(
    source: str | Mapping[str, Any], changes: Sequence[str], weights: Path, allow: str | Sequence[str]
) -> Trained:
    """A spec that the user named."""
    with no_python_warnings():
        spec = load_spec(source, changes, blocks=REGISTRY.allowing(allow))
    return Trained(spec, weights, spec.warnings)


def _built(tree: Map, name: str, changes: Sequence[str], weights: Path) -> Trained:
    """A spec that came with the weights."""
    if "defaults" in tree.items:
        message = "a spec that comes with weights cannot inherit from other files"
        raise fail("bad-defaults", message, tree.key_span("defaults"), help=_TRUST)
    with no_python_warnings():
        spec = Document(kind(REGISTRY.closed()), tree, name, resolvers=False).read(overrides.parse(changes))
    asked = tuple(w for w in spec.warnings if w.span is not None and w.span.source.kind == "override")
    return Trained(spec, weights, asked)


def _regular(path: Path) -> Path:
    """The path, unless it is a device or a pipe, which may never end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise PredictionError(Diagnostic("no-weights", f"`{path}` is not a regular file"))
    return path


def _model_in(path: Path) -> Path:
    """The file of weights in a directory that `archc build -o` wrote; any other path as it is.

    Raises:
        PredictionError: the directory holds weights for several backends, perhaps of different networks.
    """
    if not path.is_dir():
        return path
    models = [path / file for file in MODEL_FILES.values()]
    found = [model for model in models if model.is_file()]
    if len(found) > 1:  # `archc build -o` never leaves two
        message = f"`{path}` holds {' and '.join(model.name for model in found)}"
        raise PredictionError(Diagnostic("no-weights", message, help="name the file to predict with"))
    return (found or models)[0]


def _check_directory(directory: Path, needed: Sequence[Path]) -> None:
    missing = [file.name for file in needed if not file.is_file()]
    if missing:
        message = f"`{directory}` holds no {' and no '.join(missing)}"
        help = f"`archc build SPEC -o {directory}` writes both"
        raise PredictionError(Diagnostic("no-weights", message, help=help))


def _stated_in(path: Path) -> str:
    """The spec that archc wrote into a file of weights."""
    from archc.ir.graph import SPEC
    from archc.transforms.provenance import GRAPH
    from archc.weights.carrying.read import metadata

    found = metadata(path)
    text = found.get(SPEC)
    if text is None and GRAPH in found:
        message = f"`{path}` holds a network that was rewritten by hand, so no spec describes it"
        raise PredictionError(Diagnostic("no-weights", message, help="build its graph and pass the model in Python"))
    if text is None:
        message = f"archc did not write `{path}`: no spec is in it. Name the spec: SPEC --weights {path}"
        raise PredictionError(Diagnostic("no-weights", message, help=_IN_PYTHON))
    return text
