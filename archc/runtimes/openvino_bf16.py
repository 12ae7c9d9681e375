"""OpenVINO as it computes by default on newer processors: in bfloat16, with 8 significant bits. For timings."""

from __future__ import annotations

from pathlib import Path

from archc.runtimes.openvino import OpenVINO, OpenVINOSession
from archc.runtimes.protocol import CannotRunError, Session


class OpenVINOBf16(OpenVINO):
    """`openvino`, on the CPU, in bfloat16."""

    name = "openvino-bf16"
    computes_in = "bf16"

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """See `Runtime.open`.

        Raises:
            CannotRunError: the processor has no bfloat16; OpenVINO would compute in 32-bit floats.
        """
        session = super().open(path, threads=threads)
        assert isinstance(session, OpenVINOSession)
        if session.compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() != "bf16":
            raise CannotRunError("this processor has no bfloat16, so OpenVINO computes in 32-bit floats")
        return session


RUNTIME = OpenVINOBf16()
