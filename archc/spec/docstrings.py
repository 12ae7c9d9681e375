"""The docstrings under a class's attributes, for the JSON Schema.

pydantic can read them itself (`use_attribute_docstrings`), but does so whenever a class is made, which would cost every
start of archc the parsing of its own source.
"""

from __future__ import annotations

import ast
import inspect
import textwrap


def attribute_docstrings(cls: type) -> dict[str, str]:
    """Attribute name to docstring, for the attributes that the class or a class above it documents."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):
            continue  # a builtin, or a class made without a file
        tree = ast.parse(source).body[0]
        assert isinstance(tree, ast.ClassDef)
        for statement, following in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                match following:
                    case ast.Expr(ast.Constant(str(text))):
                        found[statement.target.id] = inspect.cleandoc(text)
    return found
