"""The functions behind `import archc`. Nothing here imports torch or Keras until a network is built."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, overload

from archc.blocks import REGISTRY
from archc.blocks.lower import lower as _lower
from archc.document.diagnostics import Diagnostic, SpecError, SpecWarning
from archc.document.overrides import Override, parse
from archc.document.overrides import sweep as sweep_of
from archc.ir.graph import Graph
from archc.language import load as _load
from archc.language.schema import Spec
from archc.reporting.model import Report

if TYPE_CHECKING:
    from archc.document.document import Document
    from torch import nn

    from archc.weights.copy import CopyReport
    from archc.weights.report import LoadReport

SpecSource = str | PathLike[str] | Mapping[str, Any]

BACKENDS = {"torch": "archc.backends.torch", "keras": "archc.backends.keras"}


def load(source: SpecSource, overrides: Sequence[str] = ()) -> Spec:
    """Load and check a spec: a file's path, a bundled name such as `mnv3_small`, or a mapping.

    `overrides` are in Hydra's grammar: `["width_mult=0.75", "stages.c4.0.out=48", "~stages.c5"]`.

    Raises:
        SpecError: with every problem found, each at its place in the file or the override.
    """
    return _load.load(source, overrides, blocks=REGISTRY)


def sweep(source: SpecSource, overrides: Sequence[str]) -> Iterator[tuple[list[Override], Spec]]:
    """Load every spec that swept overrides stand for (`width_mult=0.5,0.75,1.0`), reading the file once.

    Raises:
        SpecError: as `load`, when the first spec that has a problem is reached.
    """
    return _load.sweep(source, overrides, blocks=REGISTRY)


def lower(spec: Spec) -> Graph:
    """Turn a spec into its graph: run the passes, then lower every row that an output needs to primitive operations.

    Raises:
        SpecError: references that do not resolve, shapes that do not fit; every problem that can be found at once.

    Warns:
        SpecWarning: what only the shapes show, such as two levels of a detector that have one stride.
    """
    return _warned(_lower(spec), 3)


def specs() -> tuple[str, ...]:
    """The names of the bundled specs, which `load` and all that takes a spec understand."""
    return tuple(_load.LIBRARY.names())


def check(source: SpecSource, overrides: Sequence[str] = ()) -> tuple[Diagnostic, ...]:
    """Everything that is wrong with a spec, or probably not meant: load it and lower it, without building a network.

    Args:
        source: a file's path, a bundled name, or a mapping.
        overrides: as for `load`; a sweep checks every combination.

    Returns:
        Errors and warnings, each once, in the order in which they were found. A mistake in a spec or an override is
        never raised.
    """
    found: list[Diagnostic] = []
    try:
        document = _load.document(source, REGISTRY)
        for chosen in sweep_of(parse(overrides)):
            found += _checked(document, chosen)
    except SpecError as error:
        found += error.diagnostics
    return tuple(dict.fromkeys(found))


def _checked(document: Document[Spec], chosen: Sequence[Override]) -> list[Diagnostic]:
    """What is wrong with one combination of overrides."""
    found: list[Diagnostic] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SpecWarning)  # they are returned
            spec = document.read(chosen)
        found += spec.warnings
        found += _lower(spec).warnings
    except SpecError as error:
        found += error.diagnostics
    return found


def report(graph: Graph | Spec | SpecSource) -> Report:
    """Price a network without building it: exact parameters and MACs, shapes, memory, receptive fields.

    Raises:
        SpecError: as `load` and `lower`.
    """
    return Report(as_graph(graph))


@overload
def build(
    network: Graph | Spec | SpecSource,
    *,
    device: Any = None,
    dtype: Any = None,
    seed: int | None = None,
    backend: Literal["torch"] = "torch",
) -> nn.Module: ...


@overload
def build(
    network: Graph | Spec | SpecSource, *, device: Any = None, dtype: Any = None, seed: int | None = None, backend: str
) -> Any: ...


def build(
    network: Graph | Spec | SpecSource,
    *,
    device: Any = None,
    dtype: Any = None,
    seed: int | None = None,
    backend: str = "torch",
) -> Any:
    """Build a network, initialised as the spec says: an ordinary `torch.nn.Module` in training mode, or with
    `backend="keras"` a functional `keras.Model`, channels last.

    A spec with a `detector` gives torchvision's `FasterRCNN` or `SSD` around compiled modules;
    `archc.prediction.detector` says what it takes and returns.

    Args:
        network: a graph, a spec, a file's path, a bundled name, or a mapping.
        device: where a torch module's parameters live; on `"meta"` nothing is allocated or initialised. Keras places
            a model itself (`keras.device`), so there it is an error.
        dtype: of the parameters, default torch's; for Keras the name of a policy such as `"mixed_bfloat16"`, default
            Keras's own.
        seed: the weights depend on it alone; without one they depend on torch's global generator, for Keras on the one
            that `keras.utils.set_random_seed` sets. The backends draw different numbers from the same distributions.
        backend: the library to build with, `torch` or `keras`. Keras computes with what `KERAS_BACKEND` or `keras.json`
            say; where that is not installed, and Keras not yet imported, with PyTorch or JAX.

    Raises:
        SpecError: as `load` and `lower`.
        ValueError: no such backend, or a device or type that it does not take.
        ImportError: the backend's library is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"there is no backend {backend!r}; there are {', '.join(BACKENDS)}")
    graph = as_graph(network)
    check_backend(graph, backend)
    module = importlib.import_module("archc.prediction.detector" if graph.calls else BACKENDS[backend])
    return module.build(graph, device=device, dtype=dtype, seed=seed)


def check_backend(graph: Graph, backend: str) -> None:
    """Check that a backend can build a network.

    Raises:
        ValueError: it cannot.
    """
    if graph.calls and backend != "torch":
        raise ValueError(f"`{graph.name}` is a detector, which torchvision's classes run: only torch can build it")


def copy_weights(source: Any, target: Any, partial: str | Sequence[str] | None = None) -> CopyReport:
    """Copy all weights of one network that `build` returned into another: between backends, either way, or within one.

    Every tensor's place and layout in both follows from the spec. What is no weight is skipped and reported: torch's
    counters of batches, the state of Keras's random generators. One of the networks may come from elsewhere, such as a
    `.keras` file, if its layers are named as archc names them.

    Args:
        source: where the weights come from.
        target: where they go; it keeps its own types and devices.
        partial: stages or rows to leave as they are, such as a new classifier's `head`.

    Raises:
        WeightsError: the networks differ, or one was changed after it was built; the target is untouched.
    """
    from archc.weights.copy import copy_weights as copy

    return copy(source, target, partial)


def load_weights(
    model: Any,
    source_path_or_state_dict: str | PathLike[str] | Mapping[str, Any],
    source: str = "auto",
    partial: str | Sequence[str] | None = None,
) -> LoadReport:
    """Load a checkpoint of archc's or of a neighbouring library into a network that `build` returned, of any backend.

    Every tensor of the checkpoint and of the model is accounted for; otherwise the model is left untouched. Nothing in
    the file is run.

    Args:
        model: what `build` returned; `torch.compile` and `DataParallel` may be around it. Reading a checkpoint needs
            torch, for a Keras model as well.
        source_path_or_state_dict: a `.safetensors`, `.pth`, `.pt` or `.bin` file, a directory that `archc build -o`
            wrote, or tensors by name; or the `.keras` file of a model that archc built.
        source: whose names it has: `archc`, `torchvision`, `timm`, `transformers`, `cvnets`, `efficientnet_lite`;
            `auto` looks at the names.
        partial: stages or rows to leave as they are, such as a new classifier's `head`.

    Raises:
        WeightsError: what cannot be read, or does not fit; its diagnostics say which rows differ, and which change
            of the spec would make it fit.

    Warns:
        WeightsWarning: the weights fit, but their library normalises, pads or prepares images otherwise.
    """
    from archc.weights import keras_file

    if file := keras_file.named_by(source_path_or_state_dict):
        return keras_file.load_weights(model, file, partial)
    from archc.weights.load import load_weights as load_into

    return load_into(model, source_path_or_state_dict, source, partial)


def save_weights(
    model: Any, path: str | PathLike[str], names: str = "archc", *, overwrite: bool = False
) -> tuple[str, ...]:
    """Write the weights of a network that `build` returned, with its resolved spec, into a `.safetensors` file.

    Args:
        model: what `build` returned, of any backend.
        path: where to; an existing file is left alone unless `overwrite`.
        names: whose names and layouts to write: `archc`'s own, or those of a library that has such a network.
        overwrite: replace an existing file.

    Returns:
        The names in the file.

    Raises:
        WeightsError: the file exists, the library has no such network, or the module is not what its spec says.
    """
    from archc.weights.save import save_weights as save

    return save(model, path, names, overwrite=overwrite)


def as_graph(network: Graph | Spec | SpecSource) -> Graph:
    """The graph of whatever names a network."""
    if isinstance(network, Graph):
        return network
    return _warned(_lower(network if isinstance(network, Spec) else load(network)), 4)


def _warned(graph: Graph, level: int) -> Graph:
    for warning in graph.warnings:
        warnings.warn(str(warning), SpecWarning, stacklevel=level)
    return graph
