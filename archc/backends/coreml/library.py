"""coremltools: its converter and its builder of MIL programs, without their remarks.

It imports torch, scikit-learn and TensorFlow by itself where they are installed. archc needs none of them here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from archc.extras import quiet_logs, require

ct = require("coremltools", "coreml")
mil = require("coremltools.converters.mil.mil", "coreml")
_pipeline = require("coremltools.converters.mil.mil.passes.pass_pipeline", "coreml")

mb = mil.Builder

PASSES = (
    "common::const_elimination",
    "common::noop_elimination",
    "common::dedup_op_and_var_names",
    "common::add_fp16_cast",
    "common::update_output_dtypes",
    "common::const_elimination",
    "common::cast_optimization",
    "common::const_elimination",
    "common::const_deduplication",
    "common::dead_code_elimination",
)
"""What coremltools does with a program: it makes numbers 16 bits wide, and leaves out what has no effect. Its other
passes find patterns of converted networks, which archc does not write, and take seconds.
"""


def passes() -> object:
    """The passes, as coremltools' converter takes them."""
    return ct.PassPipeline(list(PASSES), "archc")


@contextmanager
def quiet() -> Iterator[None]:
    """Without coremltools' warnings and bars of progress."""
    bar = _pipeline.tqdm
    _pipeline.tqdm = lambda items, **_: items
    try:
        with quiet_logs(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _pipeline.tqdm = bar
