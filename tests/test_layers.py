"""The layout is the pipeline: arrows point one way, and nothing imports torch before a network is built."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import archc
from archc.blocks import BUILTIN

SOURCE = Path(archc.__file__).parent
LAYERS = [
    "document",
    "language",
    "passes",
    "ir",
    "blocks",
    "analysis",
    "backends",
    "weights",
    "prediction",
    "reporting",
    "cli",
]
FOUNDATION = {"extras", "files"}
"""The package's own modules that every layer may import; they import nothing of archc."""
MODULES = sorted(path for path in SOURCE.rglob("*.py"))


def layer(path: Path) -> str | None:
    """The layer that a module lies in; None for the package's own modules, which see everything."""
    first = path.relative_to(SOURCE).parts[0]
    return None if first.endswith(".py") else first


def imports(path: Path) -> Iterator[str]:
    """Everything that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(SOURCE)) for path in MODULES])
def test_layers_import_only_those_before_them(path: Path) -> None:
    own = layer(path)
    if path.stem in FOUNDATION and own is None:
        assert not [name for name in imports(path) if name.partition(".")[0] == "archc"]
    if own is None:
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "archc" or len(parts) < 2 or parts[1] in FOUNDATION:
            continue
        if parts[1] not in LAYERS:
            assert own == "cli", f"{path.name} imports {name}, which sees everything"
            continue
        assert LAYERS.index(parts[1]) <= LAYERS.index(own), f"{own} imports {name}"
        if own == parts[1] == "backends" and len(path.relative_to(SOURCE).parts) > 2 and len(parts) > 2:
            assert parts[2] == path.relative_to(SOURCE).parts[1], "backends never import each other"


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(SOURCE)) for path in MODULES])
def test_only_backends_know_torch_and_keras(path: Path) -> None:
    if layer(path) in ("document", "language", "passes", "ir", "blocks", "analysis", "reporting"):
        roots = {name.partition(".")[0] for name in imports(path)}
        assert not roots & {"torch", "keras", "tensorflow", "jax", "numpy"}


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(SOURCE)) for path in MODULES])
def test_only_its_own_backend_imports_keras(path: Path) -> None:
    if path.relative_to(SOURCE).parts[:2] != ("backends", "keras"):
        assert not {name.partition(".")[0] for name in imports(path)} & {"keras", "tensorflow", "jax"}


def test_no_block_is_named_outside_of_the_blocks() -> None:
    """`add`, `concat`, `conv` and so on name primitive operations too, so blocks that are one are left out."""
    from archc.ir import ops

    kinds = {
        op.kind for op in vars(ops).values() if isinstance(op, type) and issubclass(op, ops.Op) and op is not ops.Op
    }
    names = set(BUILTIN) - kinds
    assert {"inverted_residual", "mobilevit"} <= names
    for path in MODULES:
        if layer(path) not in ("ir", "analysis", "backends", "weights"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant):
                assert node.value not in names, f"{path}:{node.lineno}"


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_loading_and_pricing_leave_torch_alone() -> None:
    program = """
import sys
import archc
assert not {"pydantic", "yaml", "hydra", "omegaconf"} & set(sys.modules), "importing archc imports almost nothing"
spec = archc.load("mnv3_small")
assert not {"hydra", "omegaconf"} & set(sys.modules), "a spec without parents needs no Hydra"
report = archc.report(archc.lower(spec.override(width_mult=0.75)))
report.to_dict()
assert not {"hydra", "omegaconf"} & set(sys.modules)
archc.report("timm_mnv3_small")
list(archc.sweep("mobilevit_xxs", ["width_mult=0.5,1"]))
from archc.language.json_schema import json_schema
json_schema(archc.REGISTRY)
heavy = {"torch", "torchvision", "timm", "keras", "tensorflow", "jax", "numpy", "fvcore"} & set(sys.modules)
print(sorted(heavy))
"""
    assert run(program).strip() == "[]"


def test_everything_public_is_there() -> None:
    for name in archc.__all__:
        assert getattr(archc, name) is not None
    assert set(archc.__all__) <= set(dir(archc))
    with pytest.raises(AttributeError, match="nothing"):
        archc.nothing  # noqa: B018
