"""torch itself: `.pt2` files that `torch.export` wrote."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from archc.ir.state import Array
from archc.runtimes.protocol import Port, Runtime, Session, cannot_take, check_images


class TorchSession(Session):
    """An opened `.pt2` file."""

    def __init__(self, program: ExportedProgram, metadata: Mapping[str, str], threads: int | None) -> None:
        names = program.graph_signature.user_inputs
        if len(names) != 1:
            raise ValueError(f"it has {len(names)} inputs; a network for images has one")
        node = next(node for node in program.graph.nodes if node.name == names[0])
        image = node.meta["val"]
        shape = tuple(size if isinstance(size, int) else None for size in image.shape)
        self.input = Port(_name(program) or node.name, shape, str(image.dtype).removeprefix("torch."))
        self.metadata = metadata
        self._module = program.module()
        self._guards: Any = getattr(self._module, "_guards_fn", None)
        self._threads = threads
        self.outputs = tuple(
            _named(pytree.tree_unflatten(program.graph_signature.user_outputs, program.call_spec.out_spec))
        )

    def prepare(self, images: Array) -> torch.Tensor:
        """See `Session.prepare`."""
        check_images(self.input, images)
        prepared = torch.from_numpy(np.ascontiguousarray(images))
        try:
            if self._guards is not None:
                self._guards(prepared)
        except AssertionError as error:
            raise cannot_take(images.shape, str(error).strip()) from None
        return prepared

    def execute(self, prepared: torch.Tensor) -> Any:
        """See `Session.execute`."""
        with torch.inference_mode(), _threads(self._threads):
            return self._module(prepared)

    def results(self, raw: Any) -> dict[str, Array]:
        """See `Session.results`."""
        return {name: _array(value) for name, value in _named(raw).items()}


def _name(program: ExportedProgram) -> str:
    """The name of the input, as it may be passed."""
    _, keywords = pytree.tree_unflatten(program.graph_signature.user_inputs, program.call_spec.in_spec)
    return next(iter(keywords), "")


def _named(results: Any) -> dict[str, Any]:
    """Results by name: the keys of a mapping; the places of anything else."""
    if isinstance(results, Mapping):
        return {str(name): value for name, value in results.items()}
    return {f"output{place}": value for place, value in enumerate(pytree.tree_leaves(results))}


def _array(value: torch.Tensor) -> Array:
    return (value.float() if value.is_floating_point() else value).numpy(force=True)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """The number of threads belongs to the whole process: it is set while a file runs, and put back."""
    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Exported(Runtime):
    """`torch.export`."""

    name = "torch"

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """See `Runtime.open`. The file is data: nothing in it is executed while it is read."""
        try:
            with zipfile.ZipFile(path) as archive:
                extra = _extra_files(archive)
        except zipfile.BadZipFile:
            raise ValueError(f"`{path}` is no `.pt2` file") from None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.load(path)
            return TorchSession(program, extra, threads)
        except (RuntimeError, ValueError, KeyError, AssertionError) as error:
            first = str(error).strip().partition("\n")[0]
            raise ValueError(f"`{path}` is damaged, or no file that this torch runs: {first}") from None


def _extra_files(archive: zipfile.ZipFile) -> dict[str, str]:
    """The texts in a file, by key; torch's own loader returns only those that are asked for by name."""
    found = {}
    for name in archive.namelist():
        _, _, inside = name.partition("/")
        if inside.startswith("extra/"):
            found[inside.removeprefix("extra/")] = archive.read(name).decode()
    return found


RUNTIME = Exported()
