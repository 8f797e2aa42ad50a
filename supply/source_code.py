"""Python's own view of a source file: equal for two texts that run alike, so that a comment rebuilds nothing."""

from __future__ import annotations

import ast
from functools import cache

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def normalized(text: str) -> str:
    """The code of a module's text, without comments, docstrings and layout.

    By every Python the same: `ast.dump` and `ast.unparse` are not, and two of them would each build everything. Raises
    `SyntaxError`.
    """
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return repr(_plain(tree))


def _plain(value: object) -> object:
    """A node of the tree as a tuple of its type's name and its fields, without those that are empty."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, ast.AST):
        return value
    fields = ((name, each) for name, each in ast.iter_fields(value) if each is not None and each != [])
    return (type(value).__name__, *((name, _plain(each)) for name, each in fields))
