"""Inheritance: the same result as Hydra's own `compose`, with positions, and errors instead of hangs."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

import archc
from archc.document.compose import compose
from archc.document.library import bundled_directory
from archc.document.tree import find, from_plain, locate, merge, plain, python_span
from archc.language.load import LIBRARY
from tests.language.helpers import BUNDLED, HANG_S, Folder, only, pointed, problems, row


def by_hydra(path: Path) -> Any:
    """What Hydra composes, with the bundled specs on its search path."""
    search = f"hydra.searchpath=[file://{bundled_directory()}]"
    with initialize_config_dir(config_dir=str(path.parent.resolve()), version_base="1.3"):
        return OmegaConf.to_container(hydra_compose(path.stem, overrides=[search]), resolve=False)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_specs_compose_as_in_hydra(name: str) -> None:
    path = bundled_directory() / f"{name}.yaml"
    assert plain(compose(path, LIBRARY)) == by_hydra(path)


FAMILIES: dict[str, dict[str, str]] = {
    "child": {
        "main": "defaults: [base, _self_]\nx: 1\nm: {b: 2}\n",
        "base": "x: 0\ny: 0\nm: {a: 1, b: 1}\nl: [1, 2]\n",
    },
    "self first": {"main": "defaults: [_self_, base]\nx: 1\n", "base": "x: 0\ny: 0\n"},
    "self missing": {"main": "defaults: [base]\nx: 1\n", "base": "x: 0\ny: 0\n"},
    "self between": {"main": "defaults: [a, _self_, b]\nx: main\ny: main\n", "a": "x: a\ny: a\nz: a\n", "b": "x: b\n"},
    "several parents": {
        "main": "defaults: [a, b, _self_]\nm: {own: 1}\n",
        "a": "m: {p: a, q: a}\nl: [a]\n",
        "b": "m: {q: b, r: b}\nl: [b, b]\n",
    },
    "grandparents": {
        "main": "defaults: [a, _self_]\nx: 3\n",
        "a": "defaults: [b, _self_]\nx: 2\ny: 2\n",
        "b": "x: 1\ny: 1\nz: 1\n",
    },
    "null and scalars over mappings": {
        "main": "defaults: [base, _self_]\na: null\nb: 1\nc: {d: 1}\n",
        "base": "a: {x: 1}\nb: {y: 2}\nc: 5\nd: [1]\n",
    },
    "package": {
        "main": "defaults: [base@m, _self_]\nm: {x: 1}\n",
        "base": "x: 0\ny: 0\n",
    },
    "package header": {"main": "defaults: [base, _self_]\nx: 1\n", "base": "# @package deep.er\ny: 0\n"},
    "global package": {"main": "defaults: [sub/base, _self_]\nx: 1\n", "sub/base": "# @package _global_\ny: 0\n"},
    "group": {"main": "defaults: [norm: small, _self_]\nx: 1\n", "norm/small": "eps: 1\n", "norm/large": "eps: 2\n"},
    "group into another package": {
        "main": "defaults: [norm@m.n: large, _self_]\n",
        "norm/small": "eps: 1\n",
        "norm/large": "eps: 2\n",
    },
    "group list": {"main": "defaults: [norm: [small, large]]\n", "norm/small": "a: 1\n", "norm/large": "b: 2\n"},
    "group that inherits": {
        "main": "defaults: [norm: small, _self_]\n",
        "norm/small": "defaults: [base, _self_]\neps: 1\n",
        "norm/base": "eps: 0\nkind: batch\n",
    },
    "group with an absolute parent": {
        "main": "defaults: [norm: small, _self_]\n",
        "norm/small": "defaults: [/top@_here_, _self_]\neps: 1\n",
        "top": "eps: 0\nkind: batch\n",
    },
    "optional": {"main": "defaults: [optional norm: missing, _self_]\nx: 1\n", "norm/small": "eps: 1\n"},
    "a bundled parent": {"main": "defaults: [mnv3_small, _self_]\nname: mine\nnorm: {eps: 0.1}\n"},
    "a bundled child as parent": {"main": "defaults: [timm_mnv3_large, _self_]\nname: mine\n"},
    "a bundled parent shadowed": {"main": "defaults: [mnv3_small, _self_]\nx: 1\n", "mnv3_small": "x: 0\ny: 0\n"},
    "twice": {"main": "defaults: [a, b, a, _self_]\n", "a": "x: a\n", "b": "x: b\n"},
    "diamond": {
        "main": "defaults: [a, b, _self_]\n",
        "a": "defaults: [top, _self_]\nx: a\n",
        "b": "defaults: [top, _self_]\ny: b\n",
        "top": "x: top\ny: top\nz: top\n",
    },
    "empty defaults": {"main": "defaults: []\nx: 1\n"},
    "only self": {"main": "defaults: [_self_]\nx: 1\n"},
}


@pytest.mark.filterwarnings("ignore:In .main.. Defaults list is missing")
@pytest.mark.parametrize("family", FAMILIES)
def test_families_compose_as_in_hydra(folder: Folder, family: str) -> None:
    for name, text in FAMILIES[family].items():
        folder.write(f"{name}.yaml", text)
    path = folder.path / "main.yaml"
    expected = by_hydra(path)
    assert plain(compose(path, LIBRARY)) == expected


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), values, max_size=3), min_size=2, max_size=4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_merging_is_omegaconfs(layers: list[dict[str, Any]]) -> None:
    trees = [from_plain(layer, python_span("layer")) for layer in layers]
    merged = trees[0]
    try:
        for tree in trees[1:]:
            merged = merge(merged, tree)
        expected = OmegaConf.to_container(OmegaConf.merge(*layers))
    except TypeError:  # OmegaConf refuses a mapping over a list; here it patches, or is refused by the schema
        return
    assert plain(merged) == expected


def test_positions_lie_in_the_file_that_said_it(folder: Folder) -> None:
    folder.write("base.yaml", "x: 0\nm: {a: 1, b: 2}\n")
    path = folder.write("main.yaml", "defaults: [base, _self_]\n\nm: {b: 3}\n")
    tree = compose(path, LIBRARY, "main.yaml")
    assert str(locate(tree, ("x",))) == f"{folder.path / 'base.yaml'}:1:4"
    assert str(locate(tree, ("m", "a"))) == f"{folder.path / 'base.yaml'}:2:8"
    assert str(locate(tree, ("m", "b"))) == "main.yaml:3:8"


def test_errors_in_an_inherited_value_point_into_the_parent(folder: Folder) -> None:
    folder.write("base.yaml", row("{block: conv, kernal: 3, out: 8}", "dropout: 1.5"))
    path = folder.write("main.yaml", "defaults: [base, _self_]\nname: mine\nwidth_mult: none\n")
    found = problems(path)
    assert {pointed(problem.span) for problem in found} == {"1.5", "kernal", "none"}
    files = {problem.span.source.name: pointed(problem.span) for problem in found if problem.span}
    assert files[str(path)] == "none"


def test_a_child_patches_rows_by_index_and_column(folder: Folder) -> None:
    path = folder.write(
        "main.yaml",
        """\
        defaults: [mnv3_small, _self_]
        name: mine
        stages:
          c4:
            0: {out: 48, groups: 2}
            2: [7, 100, 40, false, relu, 1]
          c5: {3: {out: 5x}}
          head: null
        """.replace("        ", ""),
    )
    spec, parent = archc.load(path), archc.load("mnv3_small")
    assert [*spec.stages] == ["stem", "c2", "c3", "c4", "c5"]
    first = spec.stages["c4"][0]
    assert first.model_dump() == {**parent.stages["c4"][0].model_dump(), "out": 48, "groups": 2}
    assert spec.stages["c4"][1] == parent.stages["c4"][1]
    assert spec.stages["c4"][2].kernel == (7, 7)
    assert str(spec.stages["c5"][3].out) == "5x"
    span = spec.span("stages", "c4", 0, "out")
    assert span is not None
    assert span.source.name.endswith("main.yaml")
    untouched = spec.span("stages", "c4", 0, "expand")
    assert untouched is not None
    assert untouched.source.name.endswith("mnv3_small.yaml")


def test_patches_pile_up(folder: Folder) -> None:
    folder.write("a.yaml", "table: {block: conv, columns: [kernel, out]}\nstages: {c1: [[3, 8], [3, 16]]}\n")
    folder.write("b.yaml", "defaults: [a, _self_]\nstages: {c1: {0: {out: 24}}}\n")
    path = folder.write("c.yaml", "defaults: [b, _self_]\nstages: {c1: {0: {kernel: 5}, 1: {out: 32}}}\n")
    rows = [row.model_dump(include={"kernel", "out"}) for row in archc.load(path).stages["c1"]]
    assert rows == [{"kernel": 5, "out": 24}, {"kernel": 3, "out": 32}]


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ("{9: {out: 8}}", "stage `c4` has no row `9`"),
        ("{0: {out: 8}, 5: {out: 8}}", "stage `c4` has no row `5`"),
        ("{out: 8}", "stage `c4` must be a list of rows"),
        ("{0: {outt: 8}}", "`outt` is not a key of `inverted_residual`"),
        ("{0: 8}", "a row is a list or a mapping"),
        ("{-1: {out: 8}}", "stage `c4` must be a list of rows"),
        ("{²: {out: 8}}", "stage `c4` must be a list of rows"),
    ],
)
def test_bad_patches(folder: Folder, patch: str, message: str) -> None:
    path = folder.write("main.yaml", f"defaults: [mnv3_small, _self_]\nstages: {{c4: {patch}}}\n")
    assert only(path).message.startswith(message)


@pytest.mark.parametrize(
    ("files", "id", "at", "says"),
    [
        ({"main": "defaults: [main]\n"}, "inheritance-cycle", "main", "main -> main"),
        ({"main": "defaults: [a]\n", "a": "defaults: [main]\n"}, "inheritance-cycle", "a", "main -> a -> main"),
        (
            {"main": "defaults: [a]\n", "a": "x: 1\ndefaults: [b]\n", "b": "defaults: [c]\n", "c": "defaults: [a]\n"},
            "inheritance-cycle",
            "b",
            "a -> b -> c -> a",
        ),
        ({"main": "defaults: [_self_, nothing]\n"}, "unknown-parent", "nothing", "no spec `nothing`"),
        ({"main": "defaults: [mnv3_larg, _self_]\n"}, "unknown-parent", "mnv3_larg", "mnv3_larg"),
        ({"main": "defaults: [a]\n", "a": "defaults: [nope]\n"}, "unknown-parent", "nope", "no spec `nope`"),
        ({"main": "defaults: [g: a]\n", "g/a": "defaults: [nope]\n"}, "unknown-parent", "nope", "g/nope"),
        ({"main": "defaults: [g: nope]\n", "g/a": "x: 1\n"}, "unknown-parent", "nope", "g/nope"),
        ({"main": "defaults: main2\n", "main2": "x: 1"}, "bad-defaults", "main2", "must be a list"),
        ({"main": "defaults: {a: b}\n"}, "bad-defaults", "{a: b}", "must be a list"),
        ({"main": "defaults: 3\n"}, "bad-defaults", "3", "must be a list"),
        ({"main": "defaults: [3]\n"}, "bad-defaults", "3", "names nothing"),
        ({"main": "defaults: [null]\n"}, "bad-defaults", "null", "names nothing"),
        ({"main": "defaults: ['']\n"}, "bad-defaults", "''", "names nothing"),
        ({"main": "defaults: [[a]]\n"}, "bad-defaults", "[a]", "names nothing"),
        ({"main": "defaults: [{a: b, c: d}]\n"}, "bad-defaults", "{a: b, c: d}", "names nothing"),
        ({"main": 'defaults: ["${x}"]\n'}, "bad-defaults", '"${x}"', "cannot refer"),
        (
            {"main": "defaults: [norm: a, norm: b]\n", "norm/a": "x: 1\n", "norm/b": "x: 1\n"},
            "bad-defaults",
            "b",
            "`norm` is chosen twice",
        ),
        ({"main": "defaults: [a]\n", "a": "x: [\n"}, "yaml-syntax", None, ""),
        ({"main": "defaults: [a]\n", "a": "- x\n"}, "not-a-mapping", "-", ""),
        ({"main": "defaults: [a]\n", "a": "x: 1\nx: 2\n"}, "duplicate-key", "x", ""),
    ],
)  # fmt: skip
def test_bad_inheritance(folder: Folder, files: dict[str, str], id: str, at: str | None, says: str) -> None:
    for name, text in files.items():
        folder.write(f"{name}.yaml", text)
    start = time.monotonic()
    problem = only(folder.path / "main.yaml")
    assert time.monotonic() - start < HANG_S
    assert problem.id == id
    assert says in problem.message
    assert "hydra" not in problem.message.lower()
    if at is not None:
        assert pointed(problem.span) == at


def test_every_bad_patch_is_listed(folder: Folder) -> None:
    text = "defaults: [mnv3_small, _self_]\nstages: {c4: {9: {out: 8}, 0: {outt: 8}, 7: [1]}}\n"
    assert [pointed(problem.span) for problem in problems(folder.write("main.yaml", text))] == ["9", "outt", "7"]


def test_a_spec_named_as_its_bundled_parent(folder: Folder) -> None:
    problem = only(folder.write("mnv3_small.yaml", "defaults: [mnv3_small, _self_]\n"))
    assert problem.id == "inheritance-cycle"
    assert "rename" in problem.help


def test_suggestions_for_parents(folder: Folder) -> None:
    folder.write("my_base.yaml", "x: 1")
    assert only(folder.write("a.yaml", "defaults: [mnv3_smal]\n")).label == "did you mean `mnv3_small`?"
    assert only(folder.write("b.yaml", "defaults: [my_bas]\n")).label == "did you mean `my_base`?"


def test_fan_out_ends(folder: Folder) -> None:
    """Each file names the next under two packages: 2^20 files' worth, were they all read."""
    for number in range(20):
        folder.write(f"f{number}.yaml", f"defaults: [f{number + 1}@a, f{number + 1}@b]\n")
    folder.write("f20.yaml", "x: 1\n")
    start = time.monotonic()
    assert only(folder.path / "f0.yaml").id in ("too-large", "bad-defaults")
    assert time.monotonic() - start < HANG_S


def test_long_chains_work(folder: Folder) -> None:
    for number in range(40):
        folder.write(f"f{number}.yaml", f"defaults: [f{number + 1}, _self_]\n")
    folder.write("f40.yaml", row("{block: conv, out: 8}"))
    assert archc.load(folder.path / "f0.yaml").stages["c1"][0].block == "conv"


def test_a_spec_anywhere_inherits_a_bundled_one(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder.write("deep/down/mine.yml", "defaults: [mobilevit_xxs, _self_]\nname: mine\nnum_classes: 10\n")
    monkeypatch.chdir(folder.path)
    expected = archc.report(archc.load("mobilevit_xxs", ["num_classes=10"]))
    assert archc.report(path).params == expected.params
    assert archc.report("deep/down/mine.yml").params == expected.params


def test_composition_keeps_no_state(folder: Folder) -> None:
    """Hydra's own `compose` refuses threads and a second initialisation; loading may not."""
    from concurrent.futures import ThreadPoolExecutor

    path = folder.write("mine.yaml", "defaults: [mnv3_small, _self_]\nname: mine\n")
    with initialize_config_dir(config_dir=str(folder.path), version_base="1.3"), ThreadPoolExecutor(4) as pool:
        names = list(pool.map(lambda n: archc.load(path, [f"num_classes={n}"]).num_classes, range(1, 13)))
    assert names == list(range(1, 13))


def test_the_merged_tree_has_no_defaults(folder: Folder) -> None:
    path = folder.write("mine.yaml", "defaults: [mnv3_small, _self_]\nname: mine\n")
    assert find(compose(path, LIBRARY), ("defaults",)) is None


def test_a_group_of_settings_makes_a_spec(folder: Folder) -> None:
    """Hydra's config groups are good for variants of one settings group."""
    folder.write("norm/timm.yaml", "{eps: 1.0e-5, momentum: 0.1}\n")
    text = """\
    defaults: [mnv3_small, norm: timm, _self_]
    name: mine
    """
    norm = archc.load(folder.write("mine.yaml", textwrap.dedent(text))).norm
    assert (norm.eps, norm.momentum) == (1e-5, 0.1)
