"""ExecuTorch: `.pte` files, by its Python runtime.

The Python runtime has no setting for the number of threads. XNNPACK takes as many as the process may use cores when
the first file is opened; to change that, limit the process (`taskset`, `os.sched_setaffinity`) before.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from archc.extras import require
from archc.ir.state import Array
from archc.runtimes.protocol import Port, Runtime, Session, check_images

_FACTS = "archc"
"""The method that returns what a file of archc's says about itself; see `archc.backends.executorch.lower`."""

_FORWARD = "forward"
_IDENTIFIER = b"ET12"
_DTYPES = {0: "uint8", 1: "int8", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64"}
"""NumPy's names of ExecuTorch's scalar types."""


class ExecuTorchSession(Session):
    """An opened `.pte` file."""

    def __init__(self, program: Any) -> None:
        meta = program.metadata(_FORWARD)
        if meta.num_inputs() != 1:
            raise ValueError(f"it has {meta.num_inputs()} inputs; a network for images has one")
        image = meta.input_tensor_meta(0)
        facts = _facts(program)
        self._most, *size = image.sizes()
        batch = facts["batch"] if facts else self._most
        self.input = Port("image" if facts else "input", (batch, *size), _DTYPES.get(image.dtype(), "unknown"))
        names = facts["outputs"] if facts else [f"output{place}" for place in range(meta.num_outputs())]
        self.outputs = tuple(names)
        self.metadata: Mapping[str, str] = facts["metadata"] if facts else {}
        self._method = program.load_method(_FORWARD)
        self._program = program  # it owns the weights

    def prepare(self, images: Array) -> list[torch.Tensor]:
        """See `Session.prepare`."""
        check_images(self.input, images)
        if not 0 < len(images) <= self._most:
            raise ValueError(f"the file takes 1 to {self._most} images at a time, not {len(images)}")
        return [torch.from_numpy(np.ascontiguousarray(images))]

    def execute(self, prepared: list[torch.Tensor]) -> Sequence[torch.Tensor]:
        """See `Session.execute`."""
        found: Sequence[torch.Tensor] = self._method.execute(prepared)
        return found

    def results(self, raw: Sequence[torch.Tensor]) -> dict[str, Array]:
        """See `Session.results`."""
        values = [value.float() if value.is_floating_point() else value for value in raw]
        return {name: value.numpy() for name, value in zip(self.outputs, values, strict=True)}


def _facts(program: Any) -> Any:
    """What a file of archc's says about itself; None for another program's."""
    if _FACTS not in program.method_names:
        return None
    (text,) = program.load_method(_FACTS).execute([])
    return json.loads(text)


class ExecuTorch(Runtime):
    """`executorch.runtime`, with XNNPACK."""

    name = "executorch"

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """See `Runtime.open`. The number of threads is not the caller's: `threads` is not looked at."""
        content = path.read_bytes()
        if content[4:8] != _IDENTIFIER:
            raise ValueError(f"`{path}` is no `.pte` file")
        # ExecuTorch explains its errors only on `sys.stderr`, among messages about the processor that help nobody.
        with warnings.catch_warnings(), redirect_stderr(StringIO()) as said:
            warnings.simplefilter("ignore")
            library = require("executorch.runtime", "executorch")
            try:
                return ExecuTorchSession(library.Runtime.get().load_program(content))
            except (RuntimeError, ValueError, KeyError, TypeError) as error:
                lines = [line for line in said.getvalue().splitlines() if "cpuinfo" not in line]
                first = str(error).strip().partition("\n")[0]
                raise ValueError(
                    f"`{path}` is damaged, or no file that this ExecuTorch runs: {'; '.join([first, *lines[-1:]])}"
                ) from None


RUNTIME = ExecuTorch()
