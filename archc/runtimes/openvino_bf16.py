"""OpenVINO as it computes by default on newer processors: in bfloat16, with 8 significant bits. For timings."""

from __future__ import annotations

from archc.runtimes.openvino import OpenVINO


class OpenVINOBf16(OpenVINO):
    """`openvino`, on the CPU, in bfloat16."""

    name = "openvino-bf16"
    computes_in = "bf16"


RUNTIME = OpenVINOBf16()
