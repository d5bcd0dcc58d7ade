"""A hash of Python code that only a change of the code changes: not comments, docstrings, or how it is laid out."""

import ast
import hashlib

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_digest(code: str | ast.Module) -> str:
    """SHA-256 (64 hex digits) over the syntax tree of `code`, docstrings left out; the same on every Python >= 3.11.

    Raises SyntaxError for text that is no Python.
    """
    tree = ast.parse(code) if isinstance(code, str) else code
    return hashlib.sha256(repr(_content(tree)).encode()).hexdigest()


def _content(node):
    """Nested tuples of a syntax tree, without fields that are empty (newer Pythons have more of those)."""
    if isinstance(node, list):
        return tuple(map(_content, node))
    if not isinstance(node, ast.AST):
        return node
    fields = dict(ast.iter_fields(node))
    if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = fields["body"][1:]
    kept = ((name, value) for name, value in fields.items() if value not in (None, []) and name != "kind")
    return type(node).__name__, tuple((name, _content(value)) for name, value in kept)
