"""Users add blocks without touching archc: by path, by registration, by an installed package's entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from pydantic import Field

import archc
from archc.blocks.base import channels
from archc.cli import main
from archc.document.diagnostics import Diagnostic
from archc.ir import Node, ops
from archc.ir.graph import SPEC
from archc.language.registry import BlockRegistry
from archc.language.values import Channels
from archc.transforms.provenance import stated_spec

from .custom import Ghost

PATH = "tests.blocks.custom:Ghost"


def network(block: str) -> dict[str, Any]:
    return {
        "name": "ghost",
        "input": {"size": 16},
        "stages": {"c": [{"block": block, "out": 24}, {"block": block, "out": 16}]},
    }


def test_by_path() -> None:
    spec = archc.load(network(PATH), allow="tests.blocks")
    report = archc.report(spec)
    module = archc.build(spec, seed=0)
    assert module(torch.zeros(2, 3, 16, 16)).shape == (2, 16, 16, 16)
    assert report.params == sum(p.numel() for p in module.parameters())
    # 3→12 pointwise, 12 depthwise 3×3, 24→8 pointwise, 8 depthwise; two norms of 2·half each time.
    assert report.params == 3 * 12 + 12 * 9 + 4 * 12 + 24 * 8 + 8 * 9 + 4 * 8
    assert type(module.c[0]).__name__ == "Ghost"


def test_width_mult_finds_its_channels() -> None:
    wide = archc.load(network(PATH), ["width_mult=2"], allow="tests.blocks")
    assert archc.report(wide).layers[-1].output[0] == 16
    assert archc.lower(wide).outputs
    assert archc.report(wide).outputs[0].output[0] == 32


def test_by_registration() -> None:
    archc.REGISTRY.register("ghost_for_test", Ghost)
    assert (
        archc.report(archc.load(network("ghost_for_test"))).params
        == archc.report(archc.load(network(PATH), allow="tests.blocks")).params
    )
    with pytest.raises(ValueError, match="already registered"):
        archc.REGISTRY.register("ghost_for_test", archc.Block)


def test_a_typo_in_its_rows_is_found() -> None:
    broken = network(PATH)
    broken["stages"]["c"][0]["kernal"] = 5
    with pytest.raises(archc.SpecError) as caught:
        archc.load(broken, allow=["tests"])
    assert "did you mean `kernel`?" in str(caught.value)


@pytest.mark.parametrize(
    ("block", "id"),
    [
        ("tests.blocks.custom:NotABlock", "bad-block"),
        ("tests.blocks.custom:Missing", "bad-block"),
        ("no_such_package:Ghost", "bad-block"),
        ("os:system", "bad-block"),
        ("archc.blocks.base:Block", "bad-block"),
        ("archc.language.row:Row", "bad-block"),
        ("gohst", "unknown-block"),
        ("inverted_residul", "unknown-block"),
    ],
)
def test_what_is_no_block(block: str, id: str) -> None:
    with pytest.raises(archc.SpecError) as caught:
        archc.load(network(block), allow=["tests", "no_such_package", "os", "archc"])
    assert {d.id for d in caught.value.diagnostics} == {id}


def test_by_entry_point(tmp_path: Path) -> None:
    (tmp_path / "ghosts.py").write_text((Path(__file__).parent / "custom.py").read_text(encoding="utf-8"))
    info = tmp_path / "ghosts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ghosts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[archc.blocks]\nghost = ghosts:Ghost\n")
    program = (
        "import archc\n"
        "rows = [{'block': 'ghost', 'out': 24}, {'block': 'ghost', 'out': 16}]\n"
        "spec = archc.load({'name': 'g', 'input': {'size': 16}, 'stages': {'c': rows}})\n"
        "print(archc.report(spec).params)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(archc.__file__).parents[1])])}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert done.stdout.strip() == str(archc.report(archc.load(network(PATH), allow="tests.blocks")).params), done.stderr


def test_a_shape_that_an_override_broke_points_at_the_override() -> None:
    with pytest.raises(archc.SpecError) as caught:
        archc.lower(archc.load("mobilevit_xxs", ["stages.c3.1.heads=7"]))
    (problem,) = caught.value.diagnostics
    assert problem.span is not None
    assert (problem.id, problem.span.source.text) == ("shape", "stages.c3.1.heads=7")


EXITS = """
import sys
from pathlib import Path
Path({witness!r}).touch()
sys.exit(0)
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module `stranger.blocks` that can be imported, leaves a file when it is, and ends the process."""
    package = tmp_path / "stranger"
    package.mkdir()
    (package / "__init__.py").write_text("")
    witness = tmp_path / "it_ran"
    (package / "blocks.py").write_text(EXITS.format(witness=str(witness)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    monkeypatch.delenv("ARCHC_ALLOW_BLOCKS", raising=False)
    return witness


def refused(load: Callable[[], object]) -> Diagnostic:
    with pytest.raises(archc.SpecError) as caught:
        load()
    (problem,) = {d.id: d for d in caught.value.diagnostics}.values()
    return problem


@pytest.mark.parametrize("allow", [(), "os", ["strange", "stranger.block", "stranger.blocks.more"]])
def test_a_spec_runs_no_code(stranger: Path, tmp_path: Path, allow: Any) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("stages:\n  c:\n    - {block: 'stranger.blocks:Block', out: 8}\n")
    problem = refused(lambda: archc.load(path, allow=allow))
    assert problem.id == "block-not-allowed"
    assert problem.span is not None
    assert (problem.span.line, problem.span.column) == (3, 15)
    for way in (
        "--allow-blocks stranger",
        'allow=["stranger"]',
        "ARCHC_ALLOW_BLOCKS=stranger",
        "runs the module's code",
    ):
        assert way in problem.help
    by_override = refused(lambda: archc.load("mnv3_small", ["stages.c2.0.block=stranger.blocks:Block"], allow=allow))
    assert by_override.id == "block-not-allowed"
    header = {"table": {"block": "stranger.blocks:Block", "columns": ["out"]}, "stages": {"c": [[8]]}}
    assert refused(lambda: archc.load(header, allow=allow)).id == "block-not-allowed"
    assert not stranger.exists()


@pytest.mark.parametrize("package", ["stranger", "stranger.blocks"])
def test_an_allowed_module_may_exit(stranger: Path, package: str) -> None:
    problem = refused(lambda: archc.load(network("stranger.blocks:Block"), allow=package))
    assert (problem.id, "SystemExit: 0" in problem.message) == ("bad-block", True)
    assert stranger.exists()


def test_the_environment_allows(stranger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHC_ALLOW_BLOCKS", "tests.blocks, stranger")
    assert refused(lambda: archc.load(network("stranger.blocks:Block"))).id == "bad-block"
    assert archc.load(network(PATH)).stages["c"][0].block == PATH
    monkeypatch.setenv("ARCHC_ALLOW_BLOCKS", "tests.blocks:Ghost")
    problem = refused(lambda: archc.load(network(PATH)))
    assert (problem.id, "ARCHC_ALLOW_BLOCKS" in problem.message) == ("block-not-allowed", True)


def test_what_is_allowed_is_a_package() -> None:
    for name in ("", "tests/blocks", "tests.blocks:Ghost", "tests.", "1tests"):
        with pytest.raises(ValueError, match="not the name of a package"):
            archc.load("mnv3_small", allow=[name])


def test_an_allowed_spec_can_be_overridden_and_swept() -> None:
    spec = archc.load(network(PATH), allow=["tests"])
    assert archc.report(spec.override({"stages.c.0.out": 32})).outputs[0].output[0] == 16
    swept = archc.sweep(network(PATH), ["stages.c.1.out=8,32"], allow="tests")
    assert [archc.report(spec).outputs[0].output[0] for _, spec in swept] == [8, 32]
    with pytest.raises(archc.SpecError, match="block-not-allowed"):
        list(archc.sweep(network(PATH), ["stages.c.1.out=8,32"]))


def test_the_command_line_allows(stranger: Path, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(f"stages:\n  c:\n    - {{block: '{PATH}', out: 8}}\n    - {{block: '{PATH}', out: 8}}\n")
    for command in ("report", "check", "show", "build", "convert", "diff", "predict", "weights"):
        options = {option for parameter in main.commands[command].params for option in parameter.opts}
        assert "--allow-blocks" in options, command
    runner = CliRunner()
    assert runner.invoke(main, ["check", str(path)]).exit_code == 1
    assert runner.invoke(main, ["check", str(path), "--allow-blocks", "os", "--allow-blocks", "tests"]).exit_code == 0
    assert runner.invoke(main, ["report", "--allow-blocks", "tests.blocks", str(path)]).exit_code == 0
    assert runner.invoke(main, ["report", str(path), "width_mult=1,2", "--allow-blocks", "tests"]).exit_code == 0
    bad = runner.invoke(main, ["report", "--allow-blocks", "tests:", str(path)])
    assert (bad.exit_code, "not the name of a package" in bad.output) == (2, True)
    path.write_text("stages:\n  c:\n    - {block: 'stranger.blocks:Block', out: 8}\n")
    for command in ("report", "check", "show"):
        assert runner.invoke(main, [command, str(path)]).exit_code == 1
    assert not stranger.exists()


def test_a_file_of_weights_imports_nothing(stranger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHC_ALLOW_BLOCKS", "stranger,tests")
    embedded = "name: x\nstages:\n  c:\n    - {block: 'stranger.blocks:Block', out: 8}\n"
    problem = refused(lambda: stated_spec({SPEC: embedded}))
    assert (problem.id, "file of weights" in problem.message) == ("block-not-allowed", True)
    assert not stranger.exists()


def redefined(padding: str, module: str = __name__, name: str = "Cell") -> type[archc.Block]:
    """The class that a notebook's cell defines each time it runs."""

    class Cell(archc.Block):
        """A block of a notebook. Whoever lists all blocks in the same process lists it, too."""

        out: Channels

        def lower(self, net: archc.Net, *inputs: Node) -> Node:
            return net.add("conv", ops.Conv(net.count(self.out, channels(inputs[0])), (3, 3), padding=padding), *inputs)

    Cell.__module__, Cell.__qualname__ = module, name
    return Cell


def test_a_cell_that_runs_again_replaces_its_block() -> None:
    cells = {"input": {"size": 16}, "stages": {"c": [{"block": "cell_for_test", "out": 8}]}}
    for padding, size in (("valid", 14), ("symmetric", 16), ("valid", 14)):
        archc.REGISTRY.register("cell_for_test", redefined(padding))
        assert archc.report(cells).outputs[0].output[:] == (8, size, size)
    for other in (redefined("valid", module="elsewhere"), redefined("valid", name="Other")):
        with pytest.raises(ValueError, match="already registered by"):
            archc.REGISTRY.register("cell_for_test", other)
    with pytest.raises(ValueError, match="is not a block"):
        archc.REGISTRY.register("row_for_test", archc.Block)


class Branches(archc.Block):
    """A block whose columns cannot be hashed as they are."""

    widths: list[int]
    options: dict[str, list[float]] = Field(default_factory=dict)
    names: set[str] = Field(default_factory=set)

    def lower(self, net: archc.Net, *inputs: Node) -> Node:
        return net.add("concat", ops.Concat(), *(
            net.add(f"conv{number}", ops.Conv(width), inputs[0]) for number, width in enumerate(self.widths)
        ))  # fmt: skip


def test_columns_may_be_lists() -> None:
    archc.REGISTRY.register("branches_for_test", Branches)
    row = {"block": "branches_for_test", "widths": [4, 8], "options": {"a": [1.0, 2.0]}}
    spec = archc.load({"input": {"size": 8}, "stages": {"c": [row, {**row, "widths": [2]}]}})
    assert archc.report(spec).params == 3 * 4 + 3 * 8 + 12 * 2
    first, second = spec.stages["c"]
    assert isinstance(first, Branches)
    assert first.widths == [4, 8]
    assert hash(first) == hash(Branches.model_validate(row))
    assert first == Branches.model_validate(row)
    assert len({first, second, Branches.model_validate(row)}) == 2
    assert hash(spec) == hash(archc.load({"input": {"size": 8}, "stages": {"c": [row, {**row, "widths": [2]}]}}))


def test_registries_are_independent() -> None:
    own = BlockRegistry()
    own.register("only_here", Ghost)
    assert "only_here" in own.names()
    assert "only_here" not in archc.REGISTRY.names()
