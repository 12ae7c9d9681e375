"""The docstrings under a class's attributes, for the JSON Schema.

pydantic can read them itself (`use_attribute_docstrings`), but does so whenever a class is made, which would cost every
start of archc the parsing of its own source.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise


def attribute_docstrings(cls: type) -> dict[str, str]:
    """Attribute name to docstring, for the attributes that the class or a class above it documents."""
    return {name: text for base in reversed(cls.__mro__) for name, text in _own(base).items()}


@cache
def _own(cls: type) -> dict[str, str]:
    """Of the attributes that the class itself states."""
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
