"""The layout is the pipeline: arrows point one way, and nothing imports torch before a network is built."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
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
    "transforms",
    "analysis",
    "backends",
    "weights",
    "runtimes",
    "prediction",
    "exporting",
    "quantization",
    "benchmarking",
    "reporting",
    "cli",
]
LIGHT = {"document", "language", "passes", "ir", "blocks", "transforms", "analysis", "reporting"}
"""Layers that import no heavy library. `transforms` and `analysis` compute with NumPy, imported when they run."""
HEAVY = {"torch", "keras", "tensorflow", "jax", "numpy"}
FOUNDATION = {"extras", "files"}
"""The package's own modules that every layer may import; they import nothing of archc."""
MODULES = sorted(path for path in SOURCE.rglob("*.py"))


def layer(path: Path) -> str | None:
    """The layer that a module lies in; None for the package's own modules, which see everything."""
    first = path.relative_to(SOURCE).parts[0]
    return None if first.endswith(".py") else first


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Everything that a module imports, anywhere in it."""
    return tuple(_imports(path, ast.walk(ast.parse(path.read_text(encoding="utf-8")))))


@cache
def runtime_roots(path: Path) -> frozenset[str]:
    """The packages that a module imports other than for types, or only when a function is called."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    skipped = {id(inner) for node in typing for part in node.body for inner in ast.walk(part)}
    later = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    if layer(path) in ("transforms", "analysis"):
        skipped |= {id(inner) for node in later for inner in ast.walk(node)}
    nodes = (node for node in ast.walk(tree) if id(node) not in skipped)
    return frozenset(name.partition(".")[0] for name in _imports(path, nodes))


def _imports(path: Path, nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_layers_import_only_those_before_them() -> None:
    assert {layer(path) for path in MODULES} == {*LAYERS, None}
    assert [said for path in MODULES for said in _backwards(path)] == []


def _backwards(path: Path) -> Iterator[str]:
    """The imports of a module that go against the order."""
    own, inside = layer(path), path.relative_to(SOURCE).parts
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "archc" or len(parts) < 2 or parts[1] in FOUNDATION:
            continue
        said = f"{'/'.join(inside)} imports {name}"
        if own is None:
            if path.stem in FOUNDATION:
                yield said
        elif parts[1] not in LAYERS:
            if own != "cli" and parts[1] != "__version__":
                yield said
        elif LAYERS.index(parts[1]) > LAYERS.index(own):
            yield said
        elif own == parts[1] == "backends" and len(inside) > 2 and len(parts) > 2:
            # The protocol, and what the package itself offers: one that builds on another asks for it by name.
            another = (SOURCE / "backends" / parts[2]).is_dir()
            if parts[2] != inside[1] and another:
                yield f"{said}: backends never import each other"


def test_light_layers_import_no_heavy_library() -> None:
    found = {str(path): roots for path in MODULES if layer(path) in LIGHT and (roots := runtime_roots(path) & HEAVY)}
    assert found == {}


def test_only_its_own_backend_imports_keras() -> None:
    others = [path for path in MODULES if path.relative_to(SOURCE).parts[:2] != ("backends", "keras")]
    assert [path for path in others if runtime_roots(path) & {"keras", "tensorflow", "jax"}] == []


def test_no_block_is_named_outside_of_the_blocks() -> None:
    """`add`, `concat`, `conv` and so on name primitive operations too, so blocks that are one are left out."""
    from archc.ir import ops

    kinds = {
        op.kind for op in vars(ops).values() if isinstance(op, type) and issubclass(op, ops.Op) and op is not ops.Op
    }
    names = set(BUILTIN) - kinds
    assert {"inverted_residual", "mobilevit"} <= names
    for path in MODULES:
        if layer(path) not in ("ir", "transforms", "analysis", "backends", "weights"):
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
