"""The functions behind `import archc`. Nothing here imports torch or Keras until a network is built."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from archc.blocks import REGISTRY
from archc.blocks.lower import lower as _lower
from archc.blocks.variants import outcomes
from archc.document.diagnostics import Diagnostic, SpecError, SpecWarning
from archc.document.overrides import Override
from archc.ir.graph import Graph
from archc.language import load as _load
from archc.language.schema import Spec
from archc.reporting.model import Report

if TYPE_CHECKING:
    import torch
    from torch import nn

    from archc.analysis.diff import Difference
    from archc.analysis.latency import LatencyTable
    from archc.benchmarking.results import Benchmark
    from archc.exporting.export import Exported
    from archc.ir.quantization import Quantization
    from archc.ir.state import State
    from archc.prediction.predict import Answer
    from archc.prediction.sources import Images
    from archc.quantization.quantize import Quantized
    from archc.quantization.ranges import Method
    from archc.weights.carrying.copy import CopyReport
    from archc.weights.carrying.report import LoadReport

SpecSource = str | PathLike[str] | Mapping[str, Any]


def load(source: SpecSource, overrides: Sequence[str] = (), *, allow: str | Sequence[str] = ()) -> Spec:
    """Load and check a spec: a file's path, a bundled name such as `mnv3_small`, or a mapping.

    A spec runs no code. Only a row whose `block` is the path of a class, `package.module:Class`, needs one module to be
    imported, and that only happens if the package is allowed.

    Args:
        source: a path, a bundled name, or a mapping.
        overrides: in Hydra's grammar: `["width_mult=0.75", "stages.c4.0.out=48", "~stages.c5"]`.
        allow: packages whose blocks the spec may name by path, submodules included. The environment variable
            `ARCHC_ALLOW_BLOCKS` names more of them, separated by commas.

    Raises:
        SpecError: with every problem found, each at its place in the file or the override.
        ValueError: `allow` holds what cannot be a package's name.
    """
    return _load.load(source, overrides, blocks=REGISTRY.allowing(allow))


def sweep(
    source: SpecSource, overrides: Sequence[str], *, allow: str | Sequence[str] = ()
) -> Iterator[tuple[list[Override], Spec]]:
    """Load every spec that swept overrides stand for (`width_mult=0.5,0.75,1.0`), reading the file once.

    `allow` is `load`'s.

    Raises:
        SpecError: as `load`, when the first spec that has a problem is reached.
        ValueError: as `load`.
    """
    return _load.sweep(source, overrides, blocks=REGISTRY.allowing(allow))


def lower(spec: Spec | SpecSource) -> Graph:
    """Turn a spec into its graph: run the passes, then lower every row that an output needs to primitive operations.

    `spec` is what `load` returned, or what `load` takes: a file's path, a bundled name, or a mapping.

    Raises:
        SpecError: references that do not resolve, shapes that do not fit; every problem that can be found at once.

    Warns:
        SpecWarning: what only the shapes show, such as two levels of a detector that have one stride.
    """
    return as_graph(spec)


def diff(before: Spec | SpecSource, after: Spec | SpecSource) -> Difference:
    """Compare two specs: the settings as written, the rows after all passes, and what every stage costs.

    The result is false where nothing differs; `to_dict()` is JSON-ready.

    Raises:
        SpecError: as `load` and `lower`.
    """
    from archc.analysis.diff import diff as compare

    return compare(*(spec if isinstance(spec, Spec) else load(spec) for spec in (before, after)))


def specs() -> tuple[str, ...]:
    """The names of the bundled specs, which `load` and all that takes a spec understand."""
    return tuple(_load.LIBRARY.names())


def check(
    source: SpecSource, overrides: Sequence[str] = (), *, allow: str | Sequence[str] = ()
) -> tuple[Diagnostic, ...]:
    """Everything that is wrong with a spec, or probably not meant: load it and lower it, without building a network.

    Args:
        source: a file's path, a bundled name, or a mapping.
        overrides: as for `load`; a sweep checks every combination.
        allow: as for `load`.

    Returns:
        Errors and warnings, each once, in the order in which they were found. A mistake in a spec or an override is
        never raised.

    Raises:
        ValueError: `allow` holds what cannot be a package's name.
    """
    found: list[Diagnostic] = []
    try:
        for outcome in outcomes(source, overrides, REGISTRY.allowing(allow)):
            found += [*outcome.warnings, *outcome.problems]
    except SpecError as error:
        found += error.diagnostics
    return tuple(dict.fromkeys(found))


def report(graph: Graph | Spec | SpecSource, *, latency: LatencyTable | str | PathLike[str] | None = None) -> Report:
    """Price a network without building it: exact parameters and MACs, shapes, memory, receptive fields.

    Args:
        graph: a graph, a spec, a file's path, a bundled name, or a mapping.
        latency: a table that `archc bench --per-op` measured, or its file, which prices the network in milliseconds.

    Raises:
        SpecError: as `load` and `lower`; `latency-table`: a file that is none; `unknown-latency`: an operation of a
            class that was not measured.
        OSError: the file cannot be read.
    """
    found = Report(as_graph(graph))
    if latency is None:
        return found
    from archc.analysis.latency import LatencyTable

    table = latency if isinstance(latency, LatencyTable) else LatencyTable.read(Path(latency))
    return replace(found, latency=table.price(found.graph))


@overload
def build(
    network: Graph | Spec | SpecSource,
    *,
    device: Any = None,
    dtype: Any = None,
    seed: int | None = None,
    backend: Literal["torch"] = "torch",
    transforms: Sequence[str] = (),
    state: State | None = None,
) -> nn.Module: ...


@overload
def build(
    network: Graph | Spec | SpecSource,
    *,
    device: Any = None,
    dtype: Any = None,
    seed: int | None = None,
    backend: str,
    transforms: Sequence[str] = (),
    state: State | None = None,
) -> Any: ...


def build(
    network: Graph | Spec | SpecSource,
    *,
    device: Any = None,
    dtype: Any = None,
    seed: int | None = None,
    backend: str = "torch",
    transforms: Sequence[str] = (),
    state: State | None = None,
) -> Any:
    """Build a network, initialised as the spec says: an ordinary `torch.nn.Module` in training mode, or with
    `backend="keras"` a functional `keras.Model`, channels last.

    With torch, a spec with a `detector` gives torchvision's `FasterRCNN` or `SSD` around compiled modules;
    `archc.backends.torch.detector` says what it takes and returns. With Keras, it gives the plain network, which
    returns the raw predictions of the heads on every level; so does `archc.backends.protocol.raw(graph)` with torch.

    Args:
        network: a graph, a spec, a file's path, a bundled name, or a mapping.
        device: where a torch module's parameters live; on `"meta"` nothing is allocated or initialised. Keras places
            a model itself (`keras.device`), so there it is an error.
        dtype: of the parameters, by default torch's; for Keras the name of a policy such as `"mixed_bfloat16"`, by
            default Keras's own.
        seed: the weights depend on it alone; without one they depend on torch's global generator, for Keras on the one
            that `keras.utils.set_random_seed` sets. The backends draw different numbers from the same distributions.
        backend: the library to build with, `torch` or `keras`. Keras computes with what `KERAS_BACKEND` or `keras.json`
            say; where that is not installed, and Keras not yet imported, with PyTorch or JAX.
        transforms: rewrites of the network and its weights, in this order, such as `["inference"]`. With the same
            seed, the result computes what the network without them computes in evaluation mode.
        state: the weights before the transforms, by canonical name (`Graph.tensors`); nothing is drawn then.

    Raises:
        SpecError: as `load` and `lower`; `unsupported-op`: the backend cannot run the network; an unknown transform.
        ValueError: no such backend, a device or type that it does not take, or a state that does not fit.
        ImportError: the backend's library is not installed.
    """
    from archc.backends import builder

    library, graph = builder(backend), as_graph(network)
    if not transforms and not graph.transforms:
        return library.build(graph, device=device, dtype=dtype, seed=seed, state=state)
    from archc.transforms import apply

    if state is None:
        graph, before = library.covers(graph), graph.before
        # The weights are drawn for the original, unless the graph was changed after its transforms.
        if before is not None and apply(library.covers(before), None, graph.transforms)[0] == graph:
            graph, transforms = library.covers(before), (*graph.transforms, *transforms)
        if transforms and str(device) != "meta":
            state = library.read(library.build(graph, seed=seed))
    graph, state = apply(graph, state, transforms)
    return library.build(graph, device=device, dtype=dtype, seed=seed, state=state)


def copy_weights(source: Any, target: Any, partial: str | Sequence[str] | None = None) -> CopyReport:
    """Copy all weights of one network that `build` returned into another, of the same or another backend.

    Each tensor's place and layout in both networks follows from the spec. What is no weight is skipped and reported:
    torch's counters of batches, the state of Keras's random generators. If only the target was built with transforms,
    the weights are rewritten in the same way. Keras has no heads on proposals: copying a Faster R-CNN into it reports
    them as unused. One of the networks may come from elsewhere, such as a `.keras` file, if its layers have archc's
    names.

    Args:
        source: where the weights come from.
        target: where they go; it keeps its own types and devices.
        partial: stages or rows to leave as they are, such as a new classifier's `head`.

    Raises:
        WeightsError: the networks differ, or one was changed after it was built; the target is untouched.
    """
    from archc.weights.carrying.copy import copy_weights as copy

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

    A network that was built with transforms takes weights from before them, which are rewritten in the same way, or a
    file of a network with the same transforms.

    Args:
        model: what `build` returned; `torch.compile` and `DataParallel` may be around it.
        source_path_or_state_dict: a `.safetensors`, `.pth`, `.pt` or `.bin` file, a `.keras` file of a model that
            archc built, a directory that `archc build -o` wrote, or torch tensors or NumPy arrays by name. Only
            what `torch.save` wrote needs torch, and only `.keras` files need Keras.
        source: whose names it has: `archc`, `torchvision`, `timm`, `transformers`, `cvnets`, `efficientnet_lite`, or a
            library whose map was added with `archc.weights.register_map`; `auto` looks at the names.
        partial: stages or rows to leave as they are, such as a new classifier's `head`. In a network that transforms
            have rewritten, nothing can be left.

    Raises:
        WeightsError: what cannot be read, or does not fit; its diagnostics say which rows differ, and which change
            of the spec would make it fit.

    Warns:
        WeightsWarning: the weights fit, but their library normalises, pads or prepares images otherwise
            (`weights-policy`), or some of them are nan or inf (`not-finite`).
    """
    from archc.weights.carrying.load import load_weights as load_into

    return load_into(model, source_path_or_state_dict, source, partial)


def save_weights(
    model: Any, path: str | PathLike[str], names: str = "archc", *, overwrite: bool = False
) -> tuple[str, ...]:
    """Write the weights of a network that `build` returned into a `.safetensors` file that states the network.

    It states the resolved spec and the transforms. If the graph was rewritten in another way, so that these do not
    give it, the file states the graph itself (`archc_graph`). bfloat16 is written as float32, which loses nothing.

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
    from archc.weights.carrying.save import save_weights as save

    return save(model, path, names, overwrite=overwrite)


def predict(
    model_or_path: nn.Module | Graph | Spec | SpecSource | Any,
    images: Images,
    *,
    weights: str | PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    top: int | None = None,
    threshold: float | None = None,
    classes: str | PathLike[str] | Sequence[str] | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    allow: str | Sequence[str] = (),
) -> list[Answer]:
    """Predict what is in images: their classes, the class of each pixel, or boxes around objects.

    The network decides which: a vector of scores gives an `archc.prediction.results.Classified`, an image of scores a
    `Segmented`, a detector a `Detected`. Images are prepared as the spec's `input` says, and results come in the order
    of the images. An image that cannot be used gives a `Skipped` with the error. Every result has `to_dict()`.

    Args:
        model_or_path: what `build` returned, for torch or Keras; a directory that `archc build -o` wrote; a
            `.safetensors` or `.keras` file of archc's; a file that `export` wrote, which its runtime runs; or, with
            `weights`, whatever names a spec. A model is left as it was: its mode, its device and its weights.
        images: one or several of: a path, a directory (the images directly inside), a glob, a PIL image, or a NumPy
            array of type `uint8`, height × width × 3 in RGB, or height × width in grey.
        weights: the checkpoint of a spec; also replaces the weights of a directory or file.
        overrides: of the spec, as in `load`.
        top: classes per image, default 5; or boxes per image, default all.
        threshold: boxes that score less are left out; default 0.5, or the detector's own threshold if that is higher.
        classes: class names in the network's order, a file with one per line, or `"none"` for numbers only; by
            default those that an exported file states, or the names of ImageNet (1000 classes), Pascal VOC (masks of
            21) or COCO (boxes of 91).
        batch_size: images at a time, if they are of one size once prepared; default 32 to classify, else 1.
        device: where to compute; by default where the model is, or on the CPU. Not for a Keras model.
        allow: `load`'s, for a spec that you name. A spec that came with the weights never imports anything.

    Raises:
        PredictionError: the network returns features, has no weights, or does not fit an option; a path stands for no
            image; or an exported file does not state its network, or returns a detector's raw predictions.
        SpecError: as `load` and `lower`; or a spec that came with the weights names Python code or calls a resolver.
        WeightsError: a checkpoint that cannot be read, or does not fit.
        ImportError: torch, torchvision, Pillow, NumPy or safetensors is not installed, or Keras for a `.keras` file, or
            the runtime of an exported file.

    Warns:
        WeightsWarning: the weights fit, but their library normalises, pads or prepares images differently.
        PredictionWarning: an exported file for masks takes images of one size, so others are stretched to it.
    """
    from archc.prediction.predict import predict as run

    return run(
        model_or_path,
        images,
        weights=weights,
        overrides=overrides,
        top=top,
        threshold=threshold,
        classes=classes,
        batch_size=batch_size,
        device=device,
        allow=allow,
    )


def export(
    network: nn.Module | Graph | Spec | SpecSource | Any,
    path: str | PathLike[str],
    *,
    to: str | None = None,
    weights: str | PathLike[str] | Mapping[str, Any] | None = None,
    state: State | None = None,
    seed: int | None = None,
    source: str = "auto",
    overrides: Sequence[str] = (),
    precision: Literal["f32", "f16", "int8"] = "f32",
    quantization: Quantization | None = None,
    preprocess: bool = False,
    size: tuple[int, int] | None = None,
    any_size: bool | None = None,
    batch: int | None = None,
    nms: bool = False,
    classes: str | PathLike[str] | Sequence[str] | None = None,
    check: bool | Images = True,
    overwrite: bool = False,
    allow: str | Sequence[str] = (),
) -> Exported:
    """Write a trained network into a file for a runtime, and check the file against the network.

    archc writes ONNX, LiteRT (`.tflite`) and Core ML files itself, without torch. Norms are folded, and what only
    training needs is left out. The input is `image`; the outputs have the names of the spec's outputs. The file states
    the spec, archc's version, the names of the classes, and how an image becomes the input.

    Args:
        network: what `build` returned; a directory or file that archc wrote; or, with `weights`, `state` or `seed`,
            whatever names a spec.
        path: the file to write: `.onnx`, `.tflite`, `.xml` (OpenVINO), `.pte` (ExecuTorch), `.mlpackage` (Core ML) or
            `.pt2` (`torch.export`).
        to: `onnx`, `litert`, `openvino`, `executorch`, `coreml` or `torch`; by default, the suffix decides.
        weights: the checkpoint of a spec.
        state: the weights themselves, by canonical name (`Graph.tensors`).
        seed: initial weights of this seed, for tests and timings.
        source: whose names the checkpoint has, as in `load_weights`.
        overrides: of the spec, as in `load`.
        precision: of the numbers in the file.
        quantization: for `int8`; `archc.quantize` makes it.
        preprocess: let the network take RGB pixels, `uint8`, and normalise them itself.
        size: height and width of the image, in place of the spec's; the file then takes no other.
        any_size: whether the file takes images of any size; by default where the target and the network allow it.
        batch: images at a time; by default, whoever runs the file decides.
        nms: for a detector, in ONNX: the file returns `boxes` ([N, 4], in pixels of its input), `labels` and `scores`
            of one image, the best first, in place of raw predictions. An SSD's raw predictions come with `anchors`.
        classes: names of the classes, or a file of them, as in `predict`.
        check: run the file and the network in torch side by side: on random numbers, and on these images.
        overwrite: replace an existing file.
        allow: `load`'s.

    Raises:
        SpecError: as `load`; `unsupported-op`, `unsupported-form`: what the target cannot write;
            `export-differs`: the file does not compute what the network does, and is not kept.
        PredictionError: `no-weights`, or images that cannot be used.
        WeightsError: a checkpoint that cannot be read, or does not fit.
        FileExistsError: the file exists, and may not be overwritten.
        ValueError: no such target, or arguments that do not go together.
        ImportError: a library is not installed.
    """
    from archc.exporting.export import export as write

    return write(
        network,
        path,
        to=to,
        weights=weights,
        state=state,
        seed=seed,
        source=source,
        overrides=overrides,
        precision=precision,
        quantization=quantization,
        preprocess=preprocess,
        size=size,
        any_size=any_size,
        batch=batch,
        nms=nms,
        classes=classes,
        check=check,
        overwrite=overwrite,
        allow=allow,
    )


def compile(model: nn.Module, *, precision: Literal["f32", "bf16"] = "f32") -> nn.Module:
    """Make a network as fast as it gets inside PyTorch, for inference on the CPU.

    Norms are folded, and what only training needs is left out (`inference`). Images are laid out channels last, and
    `torch.compile` makes code of the rest, with the weights as constants. It does so when the result is first called,
    which takes half a minute or so, and again for each further shape of input, up to torch's limit of 8.

    Args:
        model: what `build` returned for torch. It stays as it is; later changes of its weights have no effect.
        precision: of the computation. `bf16` is for processors with instructions for it, and costs some accuracy.

    Returns:
        A module that takes and returns what the model does in evaluation mode, in 32-bit floats, without gradients.
        It has its own copy of the weights. It stays in evaluation mode: `train()` raises a ValueError.

    Raises:
        ValueError: no such precision, a model of another library or one that archc did not build, or a detector, whose
            boxes are not compiled.
        WeightsError: the model was changed after it was built.
        RuntimeError: there is no C++ compiler.
    """
    from archc.backends import of
    from archc.transforms import apply
    from archc.weights.carrying.network import Network

    if precision not in ("f32", "bf16"):
        raise ValueError(f"`precision` must be `f32` or `bf16`, not {precision!r}")
    library = of(model)
    if library is None or library.name != "torch":
        raise ValueError(f"`compile` takes a torch module that archc built, not a `{type(model).__name__}`")
    network = Network.open(model)
    network.check()
    if network.graph.detector is not None:
        message = "a detector's boxes are not compiled: build its plain network, `archc.backends.protocol.raw(graph)`"
        raise ValueError(message)
    from archc.backends.torch.compiled import compiled

    graph, state = apply(
        network.graph, network.read(), [] if "inference" in network.graph.transforms else ["inference"]
    )
    assert state is not None
    return compiled(graph, state, precision)


def bench(
    networks: Any,
    *,
    weights: str | PathLike[str] | None = None,
    seed: int | None = None,
    source: str = "auto",
    overrides: Sequence[str] = (),
    runtimes: str | Sequence[str] = "all",
    threads: int | Sequence[int] = 1,
    batch: int | Sequence[int] = 1,
    precision: str | Sequence[str] = "f32",
    rounds: int = 10,
    calibrate: Sequence[str] = (),
    allow: str | Sequence[str] = (),
) -> Benchmark:
    """Time networks on every installed runtime, beside eager torch.

    Each runtime runs in a process of its own, pinned to as many processors as it may use threads, on the file that
    `archc.export` writes for it. Its outputs are first compared with those of eager torch. Then the processes run in
    turn for several rounds, and those that wait are stopped.

    Args:
        networks: what `export` takes, or a list of such.
        weights: the checkpoint of the one spec; by default, initial weights are timed.
        seed: of the initial weights, by default 0.
        source: whose names the checkpoint has.
        overrides: of the specs; a sweep times every combination.
        runtimes: names of runtimes, such as `onnxruntime` and `litert`; `eager` and `compiled` are torch's. `all` are
            those that are installed.
        threads: numbers of threads, each timed by itself.
        batch: numbers of images at a time, likewise.
        precision: `f32`, `f16`, `bf16` or `int8`, likewise.
        rounds: how often each process runs, for about a quarter of a second.
        calibrate: files or directories of images, for the ranges of int8; by default random ones, which do for timing.
        allow: `load`'s.

    Returns:
        All timings, those that failed among them, with the reason.

    Raises:
        SpecError, PredictionError, WeightsError: as `export`.
        ValueError: no such runtime or precision, or more threads than there are processors.
        MissingExtraError: a runtime that was named is not installed.
    """
    from archc.benchmarking.bench import run
    from archc.benchmarking.networks import networks as opened
    from archc.benchmarking.plan import Plan, chosen

    many = networks if isinstance(networks, list | tuple) else [networks]
    plan = Plan(
        chosen([runtimes] if isinstance(runtimes, str) else runtimes),
        [threads] if isinstance(threads, int) else threads,
        [batch] if isinstance(batch, int) else batch,
        [precision] if isinstance(precision, str) else precision,
        rounds,
        tuple(calibrate),
    )
    plan.check()
    found = opened(many, overrides=overrides, weights=weights, seed=seed, source=source, allow=allow)
    return run(found, plan)


def quantize(
    network: nn.Module | Graph | Spec | SpecSource | Any,
    images: Images | None = None,
    *,
    to: str | None = None,
    path: str | PathLike[str] | None = None,
    weights: str | PathLike[str] | Mapping[str, Any] | None = None,
    state: State | None = None,
    seed: int | None = None,
    source: str = "auto",
    overrides: Sequence[str] = (),
    ranges: str | PathLike[str] | None = None,
    method: Method | None = None,
    equalise: bool = False,
    check: Images | None = None,
    keep_float: str | Sequence[str] = (),
    min_agreement: float | None = None,
    by_row: bool = False,
    preprocess: bool = False,
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    any_size: bool | None = None,
    classes: str | PathLike[str] | Sequence[str] | None = None,
    overwrite: bool = False,
    allow: str | Sequence[str] = (),
) -> Quantized:
    """Quantise a trained network to int8, measure what that changes, and write it into a file.

    Norms are folded. Images give the range of every value; on them, kernels of depthwise convolutions are rounded so
    that their results change least, and biases make up for the mean of what is lost. Kernels have one scale for each
    output channel. The network in int8 is then
    compared with float on the images: simulated in torch, and by the file in its runtime.

    Args:
        network: as in `export`.
        images: what to calibrate on, as in `predict`; prepared as the spec's `input` says. Some dozens that look like
            the network's later ones are enough.
        to: `onnx`, `litert`, `openvino` or `executorch`; by default, the suffix of `path` decides.
        path: the file to write; without it, none is written.
        weights: the checkpoint of a spec.
        state: as in `export`.
        seed: as in `export`.
        source: as in `export`.
        overrides: as in `export`.
        ranges: a file that `Quantized.save_ranges` wrote for this network, in place of `images`.
        method: how ranges are chosen: `minmax` (all that was seen; the default), `percentile` or `mse` (the least
            squared error).
        equalise: first apply the transform of this name, which scales channels to like sizes.
        check: other images to compare on.
        keep_float: rows to leave in float, such as `c4.0`; or `auto`, to leave the rows that lose most in float, one
            after the other, until `min_agreement` is reached.
        min_agreement: the share of images, from 0 to 1, that must keep their most probable class: of `check` where
            there is one, else of `images`.
        by_row: measure what every row loses alone in int8.
        preprocess: as in `export`.
        size: as in `export`; ranges belong to images of this size.
        batch: as in `export`.
        any_size: as in `export`.
        classes: as in `export`.
        overwrite: replace an existing file.
        allow: `load`'s.

    Raises:
        SpecError: as `export`; `low-agreement`: the share is less than `min_agreement`, and no file is kept;
            `wrong-ranges`: the ranges are not this network's; `unknown-row`.
        PredictionError: `no-weights`, no images, or images that cannot be used.
        WeightsError: a checkpoint that cannot be read, or does not fit.
        FileExistsError: the file exists, and may not be overwritten.
        ValueError: no such target, or arguments that do not go together.
        ImportError: a library is not installed. Calibration needs torch.

    Warns:
        SpecWarning: an image has another class in int8 (`prediction-changed`).
    """
    from archc.quantization.calibrate import DEFAULT
    from archc.quantization.quantize import quantize as run

    quantized = run(
        network,
        images,
        to=to,
        path=path,
        weights=weights,
        state=state,
        seed=seed,
        source=source,
        overrides=overrides,
        ranges=ranges,
        method=method or DEFAULT,
        equalise=equalise,
        check=check,
        keep_float=keep_float,
        min_agreement=min_agreement,
        by_row=by_row,
        preprocess=preprocess,
        size=size,
        batch=batch,
        any_size=any_size,
        classes=classes,
        overwrite=overwrite,
        allow=allow,
    )
    for warning in quantized.warnings:
        warnings.warn(str(warning), SpecWarning, stacklevel=2)
    return quantized


def as_graph(network: Graph | Spec | SpecSource) -> Graph:
    """The graph of whatever names a network."""
    if isinstance(network, Graph):
        return network
    return _warned(_lower(network if isinstance(network, Spec) else load(network)), 4)


def _warned(graph: Graph, level: int) -> Graph:
    for warning in graph.warnings:
        warnings.warn(str(warning), SpecWarning, stacklevel=level)
    return graph
