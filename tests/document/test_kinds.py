"""A second kind of document, made here: everything that specs can do comes without a change in archc."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import Field

import archc
from archc.document import overrides
from archc.document.diagnostics import Diagnostic, Source
from archc.document.document import Document
from archc.document.json_schema import json_schema
from archc.document.kind import Kind
from archc.document.model import DocumentModel, Settings
from archc.document.tree import plain
from archc.document.values import Anything, FrozenDict, Many, Synonyms
from archc.document.yaml import read_text
from tests.language.helpers import pointed


class Sgd(Settings):
    """Stochastic gradient descent."""

    kind: Literal["sgd"]
    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9


class Adam(Settings):
    """Adam."""

    kind: Literal["adam"]
    lr: Annotated[float, Field(gt=0)] = 1e-3
    betas: tuple[float, float] | None = None


class Crop(Settings):
    """One augmentation."""

    size: Annotated[int, Field(ge=1)] = 224
    scale: Annotated[float, Field(gt=0, le=1)] = 0.08


class Recipe(DocumentModel):
    """How a network is trained."""

    consumed = frozenset({"vars"})
    tall = frozenset({"crops"})

    name: str
    epochs: Annotated[int, Field(ge=1)] = 90
    """Passes over the images."""
    batch: Annotated[int, Field(ge=1)] = 256
    schedule: Annotated[Literal["cosine", "step"], Synonyms({"cos": "cosine"})] = "cosine"
    optimiser: Annotated[Sgd | Adam, Field(discriminator="kind")]
    crops: Many[Crop] = ()
    warmup: Crop = Crop()
    tags: Anything = FrozenDict()
    vars: Anything = FrozenDict()


def lint(recipe: Recipe) -> list[Diagnostic]:
    """Warn of a recipe that ends before it has begun."""
    if recipe.epochs > 1:
        return []
    return [Diagnostic("short-recipe", "one epoch is short", recipe.span("epochs"), severity="warning")]


@pytest.fixture
def kind(tmp_path: Path) -> Kind[Recipe]:
    bundled = tmp_path / "recipes"
    bundled.mkdir()
    (bundled / "base.yaml").write_text(BASE, encoding="utf-8")
    return Kind(model=Recipe, noun="recipe", directory=bundled, open=frozenset({("tags",), ("vars",)}), lint=lint)


BASE = """\
epochs: 300
optimiser: {kind: sgd, lr: 0.5}
vars: {half: 128}
crops:
  - {size: 176}
  - {size: "${vars.half}", scale: 0.25}
"""


def read(kind: Kind[Recipe], source: Any, *changes: str) -> Recipe:
    return Document.open(kind, source).read(overrides.parse(changes))


def problems(kind: Kind[Recipe], source: Any, *changes: str) -> list[Diagnostic]:
    with pytest.raises(archc.SpecError) as caught:
        read(kind, source, *changes)
    return list(caught.value.diagnostics)


def test_it_loads_by_name_with_interpolations(kind: Kind[Recipe]) -> None:
    recipe = read(kind, "base")
    assert recipe.name == "base"
    assert recipe.epochs == 300
    assert recipe.optimiser == Sgd(kind="sgd", lr=0.5)
    assert recipe.crops == (Crop(size=176), Crop(size=128, scale=0.25))


def test_it_inherits_a_bundled_one_and_says_where_values_come_from(kind: Kind[Recipe], tmp_path: Path) -> None:
    child = tmp_path / "mine.yaml"
    child.write_text("defaults: [base, _self_]\nbatch: ${epochs}\ncrops: {1: {size: 96}}\n", encoding="utf-8")
    recipe = read(kind, child)
    assert (recipe.name, recipe.epochs, recipe.batch) == ("mine", 300, 300)
    assert [crop.size for crop in recipe.crops] == [176, 96]
    assert str(recipe.span("epochs")) == "recipes/base.yaml:1:9"
    assert str(recipe.span("crops", 1, "size")) == f"{child}:3:19"


def test_overrides_of_every_kind(kind: Kind[Recipe]) -> None:
    changes = [
        "epochs=10",
        "optimiser.lr=0.1",
        "+crops.2={size: 64}",
        "warmup.scale=0.5",
        "+tags.who=me",
        "vars.half=32",
    ]
    recipe = read(kind, "base", *changes)
    assert (recipe.epochs, recipe.optimiser.lr, recipe.warmup.scale) == (10, 0.1, 0.5)
    assert [crop.size for crop in recipe.crops] == [176, 32, 64]
    assert recipe.tags == {"who": "me"}
    faster = recipe.override(epochs=5)
    assert faster == read(kind, "base", *changes, "epochs=5")
    assert faster.override({"vars.half": 16}).crops[1].size == 16
    with pytest.raises(archc.SpecError, match="`epochs` must be at least 1, not `0`"):
        recipe.override(epochs=0)


def test_sweeps(kind: Kind[Recipe]) -> None:
    swept = Document.open(kind, "base").sweep(overrides.parse(["epochs=1,2", "optimiser.lr=0.1,0.2"]))
    with pytest.warns(archc.SpecWarning, match="one epoch is short"):
        found = [(recipe.epochs, recipe.optimiser.lr) for _, recipe in swept]
    assert found == [(1, 0.1), (1, 0.2), (2, 0.1), (2, 0.2)]


@pytest.mark.parametrize(
    ("text", "id", "at", "message", "hint"),
    [
        (
            "epoch: 3\n" + BASE.replace("epochs: 300\n", ""),
            "unknown-key",
            "epoch",
            "`epoch` is not a key of a recipe",
            "did you mean `epochs`?",
        ),
        (
            BASE.replace("lr: 0.5", "lr: 0.5, momentun: 0"),
            "unknown-key",
            "momentun",
            "`momentun` is not a key of `optimiser`",
            "did you mean `momentum`?",
        ),
        (
            BASE.replace("kind: sgd", "kind: adan"),
            "invalid-value",
            "adan",
            "`kind` cannot be `adan`",
            "did you mean `adam`?",
        ),
        (BASE.replace("kind: sgd, ", ""), "missing-key", "{lr: 0.5}", "`optimiser` needs `kind`", ""),
        (BASE + "schedule: cos\n", "invalid-value", "cos", "`schedule` cannot be `cos`", "did you mean `cosine`?"),
        (BASE + "schedule: stp\n", "invalid-value", "stp", "`schedule` cannot be `stp`", "did you mean `step`?"),
        (BASE.replace("176", "0"), "invalid-value", "0", "`size` must be at least 1, not `0`", ""),
        (
            BASE + "batch: ${epoch}\n",
            "interpolation",
            "${epoch}",
            "`${epoch}` names nothing: the recipe has no `epoch`",
            "did you mean `epochs`?",
        ),
        (BASE + "batch: [1]\n", "invalid-value", "[1]", "`batch` must be a whole number, not a list of 1", ""),
        ("epochs: 1\n", "missing-key", "e", "a recipe needs `optimiser`", ""),
        (
            "defaults: [bose]\n",
            "unknown-parent",
            "bose",
            "there is no recipe `bose` to inherit",
            "did you mean `base`?",
        ),
    ],
)
def test_mistakes_are_told_as_for_specs(
    kind: Kind[Recipe], tmp_path: Path, text: str, id: str, at: str, message: str, hint: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    (problem,) = problems(kind, path)
    assert (problem.id, pointed(problem.span), problem.message, problem.label) == (id, at, message, hint)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("epoch=3", "`epoch` is not a key of a recipe"),
        ("optimiser.kind=adan", "`kind` cannot be `adan`"),
        ("tags.who=me", "`tags` has no `who`"),
        ("crops.7.size=3", "`crops` has no item `7`"),
        ("defaults=[]", "`defaults` cannot be overridden: what a recipe inherits is read before overrides"),
    ],
)
def test_wrong_overrides(kind: Kind[Recipe], change: str, says: str) -> None:
    (problem,) = problems(kind, "base", change)
    assert problem.message == says
    assert problem.span is not None
    assert problem.span.source.kind == "override"


def test_a_wrong_name_lists_the_bundled_ones(kind: Kind[Recipe]) -> None:
    (problem,) = problems(kind, "bsae")
    assert problem.message == "there is no recipe `bsae`: no such file, and no bundled recipe of that name"
    assert problem.help == "did you mean `base`?"
    assert kind.library.names() == ["base"]


@pytest.mark.parametrize("full", [False, True])
def test_it_prints_as_yaml_that_loads_again(kind: Kind[Recipe], tmp_path: Path, full: bool) -> None:
    recipe = read(kind, "base", r"+tags.a='\${x}'", "optimiser.momentum=0.5") if full else read(kind, "base")
    path = tmp_path / "again.yaml"
    path.write_text(recipe.to_yaml(full), encoding="utf-8")
    again = read(kind, path)
    assert again.replace(vars=recipe.vars) == recipe
    assert again.to_yaml(full) == recipe.to_yaml(full)
    assert again.hash == recipe.hash


def test_short_yaml_is_what_was_written(kind: Kind[Recipe]) -> None:
    assert read(kind, "base").to_yaml() == (
        "name: base\nepochs: 300\noptimiser: {kind: sgd, lr: 0.5}\n\ncrops:\n  - {size: 176}\n"
        "  - {size: 128, scale: 0.25}\n"
    )


def test_its_json_schema_takes_what_it_takes(kind: Kind[Recipe]) -> None:
    schema = json_schema(kind)
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    assert schema["title"] == "archc recipe"
    assert schema["description"] == "How a network is trained."
    assert schema["properties"]["epochs"]["description"] == "Passes over the images."
    for text in (BASE, "defaults: [base]\n", "defaults: [base]\noptimiser: {lr: 0.1}\n", BASE + "batch: ${epochs}\n"):
        validator.validate(plain(read_text(Source("a.yaml", text))))
    for text in (BASE + "epoch: 3\n", BASE.replace("300", "0"), "epochs: 3\n", BASE + "schedule: cos\n"):
        assert list(validator.iter_errors(plain(read_text(Source("a.yaml", text))))), text


def test_a_text_from_a_stranger_calls_nothing(kind: Kind[Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHC_TEST_EPOCHS", "7")
    text = Source("a.yaml", BASE + "batch: ${oc.decode:${oc.env:ARCHC_TEST_EPOCHS}}\n")
    assert Document.of_text(kind, text, "a", resolvers=True).read().batch == 7
    with pytest.raises(archc.SpecError, match="calls a resolver; a recipe that comes with weights cannot"):
        Document.of_text(kind, text, "a", resolvers=False).read()


def test_literals_that_are_no_text(kind: Kind[Recipe]) -> None:
    class Numbers(DocumentModel):
        bits: Literal[4, 8] = 8

    numbers = Kind(model=Numbers, noun="numbers", directory=kind.directory)
    with pytest.raises(archc.SpecError) as caught:
        Document.open(numbers, {"bits": 5}).read()
    (problem,) = caught.value.diagnostics
    assert (problem.message, problem.help) == ("`bits` cannot be `5`", "one of: `4`, `8`")
