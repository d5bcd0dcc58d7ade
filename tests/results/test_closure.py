import re

import pytest

from reidlib.results.closure import reached


def write(folder, files):
    """A package `pack` of `{file: source}`; an empty __init__ where none is given."""
    for name, source in {"__init__": "", **files}.items():
        path = folder / "pack" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (path.parent / "__init__.py").exists():
            (path.parent / "__init__.py").write_text("")
        path.write_text(source)
    return folder / "pack"


def names(root, **what):
    """Reached names without those of other packages' modules; `module.` for a module's statements."""
    return {".".join(one).removeprefix("pack.") for one in reached(root=root, **what)} - {"a.math"}


A = """
import math

from pack import b, tools as t
from pack.sub import helper

LIMIT, (low, *rest) = 3, (1, 2)
SIZES: dict[str, int] = {"x": LIMIT}
LIMIT = LIMIT + math.pi


def plain():
    return 1


def default(x=LIMIT):
    return x


def annotated(x: "text", *more: low) -> None:
    return [x for x in more]


def through():
    return [helper(one).attribute.plain for one in range(3)]


def by_attribute():
    return b.one.value() + t.first()


def inside():
    from .c import late

    return lambda: late(b=1)


class Base:
    size = SIZES["x"]


class Child(Base):
    def method(self):
        def deep():
            return plain()

        return deep


def counter():
    global count
    count += 1


def reader():
    return count


def opaque(name):
    return globals()[name]
"""
FILES = {
    "a": A,
    "b": "one = object()\n\n\ndef two():\n    return three\n\n\nthree = 3\n",
    "c": "def late(b):\n    return _late(b)\n\n\ndef _late(b):\n    return b\n\n\ndef early():\n    pass\n",
    "tools": "from pack.b import two as first\n",
    "sub/__init__": "from ._deep import helper\n",
    "sub/_deep": "def helper(x):\n    return second(x)\n\n\ndef second(x):\n    return x\n\n\ndef third():\n    pass\n",
}
HELPER = {"a.helper", "sub.helper", "sub._deep.helper", "sub._deep.second"}
TWO = {"tools.first", "b.two", "b.three"}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("plain", set()),
        ("LIMIT", set()),
        ("rest", set()),
        ("SIZES", {"a.LIMIT"}),
        ("default", {"a.LIMIT"}),
        ("annotated", {"a.low"}),
        ("through", HELPER),
        ("by_attribute", TWO | {"a.b", "a.t", "b.one"}),
        ("inside", {"c.late", "c._late"}),
        ("Base", {"a.SIZES", "a.LIMIT"}),
        ("Child", {"a.Base", "a.SIZES", "a.LIMIT", "a.plain"}),
        ("counter", {"a.count"}),
        ("reader", {"a.count"}),
    ],
)
def test_a_definition_reaches_what_its_code_names(tmp_path, name, more):
    root = write(tmp_path, FILES)
    expected = more | {f"a.{name}"}
    assert names(root, code=f"from pack.a import {name} as n\nn") == expected
    assert names(root, code=f"import pack.a\ndef f():\n    return pack.a.{name}.x(1)") == expected
    assert names(root, code=f"from pack import a as m\nprint(m.{name})") == expected


def test_the_hash_changes_with_what_is_reached_and_nothing_else(tmp_path):
    root = write(tmp_path, FILES)
    code = "from pack import a\nfrom pack.sub import helper\na.Child, a.by_attribute(), helper"
    before, counted = reached(code=code, root=root), set()
    changes = {"def ": "async def ", "class ": "@print\nclass ", "": "other = "}
    definitions = [
        "plain",
        "opaque",
        "Base",
        "Child",
        "late",
        "early",
        "LIMIT",
        "two",
        "three",
        "helper",
        "second",
        "third",
    ]
    for name in definitions:
        for file, source in FILES.items():
            changed = source
            for start, new in changes.items():
                changed = re.sub(rf"(?m)^{start}{name}\b", f"{new}{name}", changed)
            (root / f"{file}.py").write_text(changed)
            if reached(code=code, root=root) != before:
                counted.add(name)
            (root / f"{file}.py").write_text(source)
    assert counted == {"plain", "Base", "Child", "LIMIT", "two", "three", "helper", "second"}
    assert reached(code=code, root=root) == before


def test_comments_docstrings_layout_and_new_definitions_do_not_count(tmp_path):
    root = write(tmp_path, FILES)
    before = reached(code="from pack.a import Child\nChild", root=root)
    source = A.replace("class Base:", "'''Text.'''\n\n\nclass Base:  # why\n    \"\"\"What.\"\"\"\n")
    source = source.replace("def deep():", 'def deep():\n            """How."""').replace("\n", "\r\n")
    (root / "a.py").write_bytes(f'"""Module."""\n{source}\n\nclass New(Child):\n    pass\n'.encode())
    (root / "new.py").write_text("from pack.a import Child\n\nChild.size = 1\n")
    assert reached(code="from pack.a import Child\nChild", root=root) == before
    (root / "a.py").write_text(A.replace("        return deep", "        return deep()"))
    assert reached(code="from pack.a import Child\nChild", root=root) != before


WHOLE_C = {"c.late", "c._late", "c.early"}


@pytest.mark.parametrize(
    "code",
    [
        "from pack import c\nprint(c)",
        "import pack.c as m\ngetattr(m, 'late')",
        "from pack.c import *",
        "from pack import c\nc.__dict__",
        "from pack import c\nc.__getattr__('late')",
        "from pack import c\nother = c\nother.late(1)",
        "def f():\n    from pack import c\n    return [c]",
    ],
)
def test_a_module_as_a_value_counts_whole(tmp_path, code):
    assert names(write(tmp_path, FILES), code=code) == WHOLE_C


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from pack import c\n\ndef f():\n    return c\n", {"u.c", *WHOLE_C}),
        ("from pack.c import *\n\ndef f():\n    return late(1)\n", {"u.", *WHOLE_C}),
        ("from pack.u2 import *\n\ndef f():\n    return b.two()\n", {"u.", "u2.b", "b.two", "b.three", "b.one"}),
        ("from pack import c\n\ndef f():\n    return c.__file__\n", {"u.c"}),
        ("from pack import c as c\n\ndef f():\n    pass\n", WHOLE_C),
        ("from pack import c\n\ndef f():\n    return vars()\n", {"u.c", *WHOLE_C}),
        ("import pack.c\n\ndef f():\n    return pack.c.early()\n", {"u.pack", "c.early"}),
        ("from . import c\nc.early = 1\n\ndef f():\n    pass\n", {"u.", "u.c", "c.early"}),
        ("from . import c\nc.late(1)\n\ndef f():\n    pass\n", {"u.", "u.c", "c.late", "c._late"}),
        (
            "try:\n    from .c import early as g\nexcept ImportError:\n    pass\n\ndef f():\n    pass\n",
            {"u.", "c.early"},
        ),
        ("x = 0\nfor y in range(3):\n    x += y\n\ndef f():\n    pass\n", {"u."}),
        ("def keep(c):\n    return c\n\n@keep\ndef g():\n    pass\n\ndef f():\n    pass\n", {"u.", "u.keep"}),
        ("import functools\n\n@functools.cache\ndef g():\n    pass\n\ndef f():\n    pass\n", set()),
        ("if __name__ == '__main__':\n    f()\n\ndef f():\n    pass\n", set()),
        ("import absent\nfrom pack.absent import g\n\ndef f():\n    return g, absent\n", {"u.g", "u.absent"}),
    ],
)
def test_module_level_code(tmp_path, source, found):
    root = write(tmp_path, {**FILES, "u": source, "u2": "from pack import b\n"})
    assert names(root, code="from pack.u import f\nf") == found | {"u.f"}


def test_statements_of_every_imported_module_count(tmp_path):
    """Those of packages on the way, of modules from which nothing is taken, and of modules imported in a function."""
    files = {"__init__": "print(1)\n", "a": "import pack.b\n\ndef f():\n    from pack import c\n", "b": "print(2)\n"}
    root = write(tmp_path, {**files, "c": "print(3)\n\ndef g():\n    pass\n", "d": "print(4)\n"})
    found = {one for one, name in reached(code="from pack.a import f", root=root)}
    assert found == {"pack", "pack.b"}
    found = {one for one, name in reached(code="from pack.a import f\nf()", root=root)}
    assert found == {"pack", "pack.a", "pack.b", "pack.c"}


def test_a_package_and_its_modules(tmp_path):
    files = {
        "sub/__init__": "from pack.sub.f import f\nfrom pack.sub import g\n\ndef h():\n    pass\n",
        "sub/f": "def f():\n    pass\n\ndef other():\n    pass\n",
        "sub/g": "def f():\n    pass\n\ndef other():\n    pass\n",
        "sub/h": "x = 1\n",
    }
    root = write(tmp_path, files)
    assert names(root, code="from pack.sub import f\nf()") == {"sub.f", "sub.f.f"}  # the function hides the module
    assert names(root, code="from pack.sub.f import other\nother()") == {"sub.f.other"}
    assert names(root, code="from pack import sub\nsub.g.f()") == {"sub.g", "sub.g.f"}
    assert names(root, code="from pack.sub import h\nh()") == {"sub.h", "sub.h.x"}  # either: whichever ran last
    everything = {"sub.f", "sub.g", "sub.h", "sub.f.f", "sub.f.other", "sub.g.f", "sub.g.other", "sub.h.x"}
    assert names(root, code="from pack import sub\nprint(sub)") == everything
    assert names(root, code="from pack import sub\nsub.unknown") == everything
    assert names(root, code="from pack import sub\nprint(sub)", leave_out=["pack.sub.g", "pack.su"]) == {
        one for one in everything if not one.startswith("sub.g.")
    }


def test_modules_that_import_each_other(tmp_path):
    files = {
        "a": "from pack import b\n\ndef f():\n    return b.g()\n",
        "b": "from pack import a\n\ndef g():\n    return a.f()\n\ndef other():\n    return a\n",
        "loop": "from pack.loop import x\n",
    }
    root = write(tmp_path, files)
    assert names(root, code="from pack import a\na.f()") == {"a.f", "a.b", "b.g", "b.a"}
    assert names(root, code="from pack.loop import x\nx") == {"loop.x"}


def test_a_module_by_name_is_reached_whole_and_follows_what_it_uses(tmp_path):
    files = {**FILES, "u": "from pack import b, c, tools\n\ndef f():\n    return b.two()\n\nc = [c]\n"}
    root = write(tmp_path, files)
    assert names(root, names=["pack.u"]) == {
        "u.f",
        "u.b",
        "u.c",
        "u.tools",
        "tools.first",
        "b.two",
        "b.three",
        *WHOLE_C,
    }
    with pytest.raises(ValueError, match=r"no module 'pack\.z' in .*pack"):
        reached(["pack.z"], root=root)


def test_code_without_imports_from_the_package_reaches_nothing(tmp_path):
    code = "import packed, os\nfrom . import x\nprint(globals(), packed, x)"
    assert reached(code=code, root=write(tmp_path, FILES)) == {}
