"""What changes the hash of code, and what does not."""

import pytest

from reidlib.source import code_digest

CODE = '''"""Doc."""
import os


class A:
    """Doc."""

    x: int = 1  # a comment


def f(a, *, b=(1, 2)):
    """Doc."""
    return f"{a!r} {b:>{a}}" + 'text'
'''


@pytest.mark.parametrize(
    "same",
    [
        CODE.replace("Doc.", "Another text."),
        CODE.replace("# a comment", ""),
        CODE.replace("    ", "  "),
        CODE.replace("'text'", '"text"'),
        CODE.replace("b=(1, 2)", "b=(\n    1,\n    2,\n)"),
        CODE.replace('    """Doc."""\n    return', "    return").replace('"""Doc."""\nimport', "import"),
    ],
)
def test_layout_comments_and_docstrings_do_not_count(same):
    assert same != CODE
    assert code_digest(same) == code_digest(CODE)


@pytest.mark.parametrize(
    "other",
    [
        CODE.replace("x: int = 1", "x: int = 2"),
        CODE.replace("x: int = 1", "x: int = True"),
        CODE.replace("'text'", "'texts'"),
        CODE.replace("!r", "!s"),
        CODE.replace("(1, 2)", "(2, 1)"),
        CODE.replace("a, *, b", "a, b"),
        CODE.replace("import os", "import sys"),
        CODE.replace("def f", "def g"),
        CODE.replace("+", "-"),
    ],
)
def test_code_counts(other):
    assert other != CODE
    assert code_digest(other) != code_digest(CODE)


def test_a_function_with_only_a_docstring_and_a_string_that_is_used():
    assert code_digest('def f():\n    "a"') == code_digest('def f():\n    "b"')
    assert code_digest('x = "a"') != code_digest('x = "b"')


def test_no_python():
    with pytest.raises(SyntaxError):
        code_digest("def")
