"""The docstrings under a class's attributes, for the JSON Schema.

pydantic can read them itself (`use_attribute_docstrings`), but it does so whenever a class is made. Then every start of
archc would parse archc's source.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise


def attribute_docstrings(cls: type) -> dict[str, str]:
    """The docstrings of a class's attributes by name, inherited ones included."""
    return {name: text for base in reversed(cls.__mro__) for name, text in _own(base).items()}


@cache
def _own(cls: type) -> dict[str, str]:
    """The docstrings of the attributes in the class's own body."""
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):
        return {}  # a builtin, or a class made without a file
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.ClassDef)
    return {
        statement.target.id: inspect.cleandoc(following.value.value)
        for statement, following in pairwise(tree.body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
        and isinstance(following.value.value, str)
    }
