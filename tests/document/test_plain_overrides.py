"""The short way past Hydra's parser gives what Hydra's parser gives."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st

from archc.document import overrides

WORDS = st.from_regex(overrides._PLAIN, fullmatch=True)


@given(text=WORDS)
@example(text="a=nan")
@example(text="a=-0")
@example(text="a=-0.0")
@example(text="a=True")
@example(text="a=NULL")
@example(text="a=inf")
@example(text="stages.c4.0.out=48")
@example(text="a=on")
@example(text="a=choice")
@example(text="a=x4")
@example(text="a=0.1")
@example(text="_=a")
def test_it_reads_as_hydra_does(text: str) -> None:
    (ours,) = overrides.parse([text])
    theirs = OverridesParser.create().parse_override(text)
    assert ".".join(map(str, ours.path)) == theirs.key_or_group
    assert (ours.action, ours.swept) == ("change", theirs.is_sweep_override())
    (value,), expected = ours.values, theirs.value()
    assert type(value) is type(expected)
    assert value == expected or (isinstance(value, float) and math.isnan(value) and math.isnan(expected))


@pytest.mark.parametrize(
    ("override", "imported"),
    [("width_mult=0.75", False), ("dilated=true", False), ("width_mult=0.5,1", True), ("outputs=[c3,c4]", True)],
)
def test_hydra_is_imported_only_where_it_is_needed(override: str, imported: bool) -> None:
    program = f"import archc, sys; list(archc.sweep('mnv3_small', [{override!r}])); print('hydra' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(imported)
