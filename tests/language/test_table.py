"""Rows written as lists, `table.defaults`, and what they become."""

from __future__ import annotations

from typing import Any

import pytest

import archc
from tests.language.helpers import Folder, only, pointed, problems

TABLE = {"block": "conv", "columns": ["kernel", "out", "stride"]}


def rows(stages: dict[str, Any], **top: Any) -> list[Any]:
    spec = archc.load({"table": TABLE, "stages": stages, **top})
    return [row for _, _, row in spec.rows()]


def test_lists_and_mappings_mean_the_same() -> None:
    written = rows(
        {
            "c1": [
                [3, 16, 2],
                {"block": "conv", "kernel": 3, "out": 16, "stride": 2},
                {"kernel": 3, "out": 16, "stride": 2},
            ]
        }
    )
    assert written[0] == written[1] == written[2]


def test_a_null_cell_is_left_out() -> None:
    (row,) = rows({"c1": [[None, 16, None]]})
    assert (row.kernel, row.stride) == ((3, 3), 1)
    assert row.model_fields_set == {"block", "out"}
    assert only({"table": TABLE, "stages": {"c1": [[3, None, 1]]}}).message == "`conv` needs `out`"


def test_the_block_may_be_a_column() -> None:
    spec = archc.load({"table": {"columns": ["block", "out"]}, "stages": {"c1": [["conv", 16], ["linear", 8]]}})
    assert [row.block for _, _, row in spec.rows()] == ["conv", "linear"]


def test_defaults_fill_what_rows_of_the_block_leave_out() -> None:
    table = {**TABLE, "defaults": {"act": "silu", "stride": 2}}
    stages = {
        "c1": [[3, 16, None], [3, 16, 1], {"out": 8}, {"block": "conv", "out": 8, "act": "relu"}, {"block": "pool"}]
    }
    spec = archc.load({"table": table, "stages": stages})
    found = [(row.act, row.stride) for _, _, row in spec.rows() if row.block == "conv"]
    assert found == [("silu", 2), ("silu", 1), ("silu", 2), ("relu", 2)]


def test_a_null_stage_is_left_out() -> None:
    assert [*archc.load({"table": TABLE, "stages": {"c1": [[3, 16, 1]], "c2": None}}).stages] == ["c1"]


@pytest.mark.parametrize(
    ("table", "id", "says"),
    [
        (None, "bad-table", "a row written as a list needs a header"),
        ({"block": "conv"}, "bad-table", "a row written as a list needs a header"),
        ({"columns": ["kernel", "out"]}, "bad-table", "`table` has columns, but no block"),
        ({"block": "conv", "columns": ["out", "out"]}, "bad-table", "`table.columns` names `out` twice"),
        ({"block": "conv", "columns": ["kernel", "outt"]}, "unknown-key", "`outt` is not a key of `conv`"),
        ({"block": "cnv", "columns": ["kernel", "out"]}, "unknown-block", "there is no block `cnv`"),
        ({"block": 3, "columns": ["kernel", "out"]}, "unknown-block", "a row's `block` is a name"),
        ({"block": "conv", "columns": "kernel"}, "invalid-value", "`columns` must be a list, not `kernel`"),
        ({"block": "conv", "columns": ["kernel", 3]}, "invalid-value", "an item of `columns` must be text, not `3`"),
        (
            {"block": "conv", "columns": ["kernel", "out"], "defaults": {"grups": 2}},
            "unknown-key",
            "`grups` is not a key of `conv`",
        ),
        (
            {"block": "conv", "columns": ["kernel", "out"], "defaults": {"block": "pool"}},
            "unknown-key",
            "`block` is not a key",
        ),
        (
            {"columns": ["block", "out"], "defaults": {"act": "relu"}},
            "bad-table",
            "`table.defaults` are for the rows of",
        ),
        (
            {"block": "conv", "columns": ["kernel", "out"], "defaults": 3},
            "invalid-value",
            "`defaults` must be a mapping",
        ),
        ({"block": "conv", "columns": ["kernel", "out"], "rows": 3}, "unknown-key", "`rows` is not a key of `table`"),
        ([1], "invalid-value", "`table` must be a mapping"),
        ("conv", "invalid-value", "`table` must be a mapping"),
    ],
)
def test_a_bad_header_is_one_problem_however_many_rows(table: object, id: str, says: str) -> None:
    cells = ["conv", 16] if isinstance(table, dict) and "block" in table.get("columns", ()) else [3, 16]
    spec = {"stages": {"c1": [cells, cells], "c2": [cells]}, **({} if table is None else {"table": table})}
    if id == "unknown-block" and isinstance(table, dict) and table["block"] == 3:
        found = problems(spec)  # `table.block` itself is no text, either
        assert {problem.id for problem in found} == {"unknown-block", "invalid-value"}
        return
    problem = only(spec)
    assert problem.id == id
    assert problem.message.startswith(says)


@pytest.mark.parametrize(("cells", "label"), [([3, 16], "too short"), ([3, 16, 1, 1], "too long"), ([], "too short")])
def test_rows_of_the_wrong_length(cells: list[int], label: str) -> None:
    (problem,) = problems({"table": TABLE, "stages": {"c1": [cells, [3, 16, 1]]}})
    assert (problem.id, problem.label) == ("row-length", label)
    assert problem.notes == ("the columns are kernel, out, stride",)


def test_every_row_of_the_wrong_length_is_listed(folder: Folder) -> None:
    text = "table: {block: conv, columns: [kernel, out]}\nstages:\n  c1:\n    - [3, 16, 1]\n    - [3, 16]\n    - [3]\n"
    found = problems(folder.write("a.yaml", text))
    assert [pointed(problem.span) for problem in found] == ["[3, 16, 1]", "[3]"]


def test_cells_keep_their_places(folder: Folder) -> None:
    text = "table: {block: conv, columns: [kernel, out, act]}\nstages:\n  c1:\n    - [3, x, hswish]\n"
    found = problems(folder.write("a.yaml", text))
    assert [(pointed(problem.span), problem.span.column) for problem in found if problem.span] == [
        ("x", 11),
        ("hswish", 14),
    ]


PARENT = """
table: {block: conv, columns: [kernel, out, stride], defaults: {act: silu}}
stages:
  a:
    - [3, 16, 2]
    - [1, 24, null]
  b:
    - [5, 32, 2]
"""


def columns_of(spec: archc.Spec, stage: str, *names: str) -> list[dict[str, object]]:
    return [{name: getattr(row, name) for name in names} for row in spec.stages[stage]]


def test_rows_stay_under_the_header_they_were_written_under(folder: Folder) -> None:
    folder.write("parent.yaml", PARENT)
    child = """
defaults: [parent, _self_]
table: {columns: [stride, out, kernel]}
stages:
  b: {0: {out: 40}}
  c:
    - [2, 48, 3]
"""
    spec = archc.load(folder.write("child.yaml", child))
    names = ("block", "kernel", "out", "stride", "act")
    plain = {"block": "conv", "act": "silu"}
    assert columns_of(spec, "a", *names) == [
        {**plain, "kernel": (3, 3), "out": 16, "stride": 2},
        {**plain, "kernel": (1, 1), "out": 24, "stride": 1},
    ]
    assert columns_of(spec, "b", *names) == [{**plain, "kernel": (5, 5), "out": 40, "stride": 2}]
    assert columns_of(spec, "c", *names) == [{**plain, "kernel": (3, 3), "out": 48, "stride": 2}]
    # A grandchild inherits the child's header, and may change it again.
    text = "defaults: [child, _self_]\ntable: {columns: [out, kernel, stride]}\nstages: {d: [[64, 1, 2]]}\n"
    grandchild = archc.load(folder.write("grandchild.yaml", text))
    assert [grandchild.stages[stage] for stage in "abc"] == [spec.stages[stage] for stage in "abc"]
    assert columns_of(grandchild, "d", "kernel", "out", "stride") == [{"kernel": (1, 1), "out": 64, "stride": 2}]


def test_a_child_may_have_a_table_of_another_block(folder: Folder) -> None:
    folder.write("parent.yaml", PARENT)
    table = "table: {block: inverted_residual, columns: [expand, out]}"
    spec = archc.load(folder.write("child.yaml", f"defaults: [parent, _self_]\n{table}\nstages: {{c: [[4x, 48]]}}\n"))
    assert [row.block for _, _, row in spec.rows()] == ["conv", "conv", "conv", "inverted_residual"]
    assert {row.act for row in spec.stages["a"]} == {"silu"}


def test_a_child_may_give_the_header(folder: Folder) -> None:
    folder.write("parent.yaml", "stages:\n  a:\n    - [3, 16]\n")
    path = folder.write("child.yaml", "defaults: [parent, _self_]\ntable: {block: conv, columns: [kernel, out]}\n")
    assert columns_of(archc.load(path), "a", "kernel", "out") == [{"kernel": (3, 3), "out": 16}]


def test_an_inherited_row_must_fit_its_own_header(folder: Folder) -> None:
    folder.write("parent.yaml", PARENT.replace("[5, 32, 2]", "[5, 32]"))
    path = folder.write("child.yaml", "defaults: [parent, _self_]\ntable: {columns: [out, kernel]}\n")
    problem = only(path)
    assert (problem.id, pointed(problem.span)) == ("row-length", "[5, 32]")
    assert problem.notes == ("the columns are kernel, out, stride",)
