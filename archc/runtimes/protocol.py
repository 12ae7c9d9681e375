"""What a runtime is: it opens an exported file and runs it.

Whatever layout a file has, images go in as [batch, channels, height, width], and results come out as torch gives them:
[batch, channels, height, width] or [batch, channels].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from archc.ir.state import Array


class Port(NamedTuple):
    """An input or output of a file. The shape has the order of axes above; None stands for any size."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    """NumPy's name, such as `float32` or `uint8`."""


class CannotRunError(RuntimeError):
    """A file that was opened, but cannot be run on this system; the message says why."""


class Session(ABC):
    """An opened file. It may be used by one thread at a time.

    `run` does all; a benchmark prepares images once and times `execute` alone.
    """

    input: Port
    outputs: tuple[str, ...]
    """The names of the outputs, in the file's order."""
    metadata: Mapping[str, str]
    """What the file says about itself; see `archc.runtimes.metadata`. Empty for a file of another program's."""

    @abstractmethod
    def prepare(self, images: Array) -> Any:
        """Images as the runtime takes them. Where the file fits several batches or sizes, it is made ready for these.

        Raises:
            ValueError: the file takes no images of this shape or type; the message says which it takes.
        """

    @abstractmethod
    def execute(self, prepared: Any) -> Any:
        """Run the network on prepared images; the results are the runtime's own.

        Raises:
            CannotRunError: this system opens such files, but cannot run them.
        """

    @abstractmethod
    def results(self, raw: Any) -> dict[str, Array]:
        """What `execute` returned, by output name, as 32-bit floats unless they are integers."""

    def run(self, images: Array) -> dict[str, Array]:
        """Run the network on images.

        Raises:
            ValueError: as `prepare`.
            CannotRunError: as `execute`.
        """
        return self.results(self.execute(self.prepare(images)))


class Runtime(ABC):
    """A library that runs files."""

    name: ClassVar[str]

    @abstractmethod
    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """Open a file.

        Args:
            path: the file, which exists.
            threads: how many threads may compute; None leaves that to the library.

        Raises:
            ValueError: it is damaged, or no file of this runtime's; the message says which.
            OSError: it cannot be read.
        """


def filled(images: Array, size: int) -> Iterator[tuple[Array, int]]:
    """Images in batches of exactly this size, as a file of a fixed batch takes them, each with how many are its own.

    The last image is repeated to fill the last batch.
    """
    import numpy as np

    for start in range(0, len(images), size):
        batch = images[start : start + size]
        yield np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)]), len(batch)


def cannot_take(shape: Sequence[int], reason: str) -> ValueError:
    """The error for images of a shape, [batch, channels, height, width], that a file turns out not to take."""
    return ValueError(f"the file cannot take images of {'×'.join(map(str, shape))}: {reason}")


def first_line(error: Exception) -> str:
    """The first line of a library's error."""
    return str(error).strip().partition("\n")[0]


def check_images(port: Port, images: Array) -> None:
    """Check that images fit an input.

    Raises:
        ValueError: they do not; the message says what it takes.
    """
    fits = len(images.shape) == len(port.shape) and all(
        wanted in (None, size) for wanted, size in zip(port.shape, images.shape, strict=True)
    )
    if not fits or images.dtype.name != port.dtype:
        wanted = "×".join("any" if size is None else str(size) for size in port.shape)
        given = "×".join(map(str, images.shape))
        raise ValueError(f"the file takes {port.dtype} images of {wanted}, not {images.dtype.name} ones of {given}")
