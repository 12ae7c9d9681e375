"""Threads that start at the same time, in a process that has imported nothing yet."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import archc
from archc.document.lazy import NEEDS_HYDRA

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


def test_every_import_of_hydra_is_behind_the_lock() -> None:
    found, unlocked = set(), []
    for path in Path(archc.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        locked = {
            id(node)
            for block in ast.walk(tree)
            if isinstance(block, ast.With)
            and any(ast.unparse(item.context_expr) == "IMPORTING" for item in block.items)
            for node in ast.walk(block)
        }
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            module = getattr(node, "module", None)
            full = [f"{module}.{name}" if module else name for name in names]
            if any(name.split(".")[0] in ("hydra", "omegaconf") for name in full):
                found.add(path.stem)
            if any(part in NEEDS_HYDRA for name in full for part in name.split(".")) and id(node) not in locked:
                unlocked.append(f"{path}:{node.lineno}")
    assert found == set(NEEDS_HYDRA)
    assert unlocked == []
