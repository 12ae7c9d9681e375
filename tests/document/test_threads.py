"""Threads that start at the same time, in a process that has imported nothing yet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, threading
import archc

barrier, problems = threading.Barrier(6), []

def run(work):
    barrier.wait()
    try:
        work()
    except BaseException as error:
        problems.append(repr(error))

def inherit():
    assert archc.load(sys.argv[1]).num_classes == 10

def override():
    assert archc.load("mnv3_small", ["input.size=[96,160]"]).input.size == (96, 160)

def interpolate():
    source = {"vars": {"a": "x${.b}", "b": "y"}, "stages": {"c1": [{"block": "conv", "out": 8}]}}
    assert archc.load(source).vars == {"a": "xy", "b": "y"}

threads = [threading.Thread(target=run, args=[work]) for work in (inherit, override, interpolate) * 2]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(problems)
"""


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(5))
def test_cold_threads(tmp_path: Path, attempt: int) -> None:
    """Hydra's modules import each other in circles, so two threads that imported them at once crashed."""
    child = tmp_path / "mine.yaml"
    child.write_text("defaults: [mnv3_small, _self_]\nnum_classes: 10\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(child)], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
