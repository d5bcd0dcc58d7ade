"""Which definitions of a package some code reaches, so that a hash can cover these and no others.

A definition is a name that a module binds at its top level: a function, a class, an assigned or an imported name.
All is found in the source, nothing is run. Where code can reach a definition in a way that does not show there, its
whole module counts. Not followed: a module imported by a text, and what a base class or a call keeps of its users.
"""

import ast
import functools
import os
from pathlib import Path

from reidlib.results.definitions import Module, piece_of, scan

STATEMENTS = ""  # in the place of a name: what a module runs whatever is taken from it
_HARMLESS = ("__doc__", "__file__", "__name__")  # attributes of a module that give none of its definitions
_OPAQUE = ("globals", "locals", "vars", "eval", "exec")  # these can give any name of the module that calls them


def reached(names=(), code="", root=".", leave_out=()):
    """`{(module, name): hash}` of the definitions that modules and a Python source reach, transitively.

    names: modules of the package, all of whose definitions are reached. code: source that is followed from its imports
    (a notebook's; `globals()` there reaches nothing). root: the package's folder. Modules under a name in leave_out
    are neither covered nor followed. The statements of a module that are no definitions have the name STATEMENTS; they
    count, with what they reach, as soon as the module is imported on the way.
    Raises ValueError for a name in `names` that does not exist.
    """
    root = Path(root).absolute()
    return dict(_reached(tuple(names), code, root, tuple(leave_out), _files(root)))


@functools.lru_cache(maxsize=256)
def _reached(names, code, root, leave_out, files):
    walk = _Walk(leave_out, {name: source for name, *source in files})
    for name in names:
        if name not in walk.files:
            raise ValueError(f"no module {name!r} in {root}")
        walk.whole(name)
    walk.read("", piece_of(ast.parse(code), ""))
    return walk.run()


def _files(root):
    """(module, path, date, size) of every source file below a package's folder, sorted."""
    found, outside = [], len(str(root.parent)) + 1
    for folder, _, files in os.walk(root):
        for file in files:
            if file.endswith(".py"):
                path = os.path.join(folder, file)
                name = path[outside:-3].replace(os.sep, ".").removesuffix(".__init__")
                state = os.stat(path)
                found.append((name, path, state.st_mtime_ns, state.st_size))
    return tuple(sorted(found))


# ---------------------------------------------------------------- following names


class _Walk:
    """What is reached so far, and what is still to be followed: pairs of a module and attributes taken from it.

    Empty attributes: the module itself is used as a value. None: it is only imported.
    """

    def __init__(self, leave_out, files):
        self.leave_out, self.files = leave_out, files
        self.found, self.seen, self.waiting = {}, set(), []

    def run(self):
        while self.waiting:
            module, attributes = self.waiting.pop()
            if attributes is None:
                self._import(module)
            elif attributes:
                self._attribute(module, *attributes)
            else:  # a module can give any of its names, a package any of its modules
                self.whole(module)
                for name in self.files:
                    if name.startswith(f"{module}."):
                        self.add(name, ())
        return self.found

    def add(self, module, attributes):
        """Follow this later, unless it is done, left out, or no module of the package."""
        left_out = any(f"{module}.".startswith(f"{name}.") for name in self.leave_out)
        if module in self.files and not left_out and (module, attributes) not in self.seen:
            self.seen.add((module, attributes))
            self.waiting.append((module, attributes))
            self.add(module, None)

    def whole(self, module):
        """All definitions of a module; an import from which it takes attributes is reached as these are."""
        scanned = self._scanned(module)
        pieces = [piece for group in [*scanned.definitions.values(), scanned.statements] for piece in group]
        used = {read.partition(".")[0] for piece in pieces for read in piece.reads if "." in read}
        for name, group in scanned.definitions.items():
            if name not in used or not all(piece.binds for piece in group):
                self.add(module, (name,))
        self.add(module, None)

    def read(self, module, piece):
        """Follow what a piece of a module's code reads and imports (a notebook's code is in no module)."""
        scanned = self._scanned(module) if module else Module({}, [])
        for dotted in piece.reads:
            first, *rest = dotted.split(".")
            for one in (one for code in [piece, *scanned.statements] for one in code.imports):
                if one.name == first:
                    self._add_import(one, rest)
                elif one.name == "*":
                    self.add(one.module, (first, *rest))
            if first in scanned.definitions:
                self.add(module, (first, *rest))
            if first in _OPAQUE or dotted.startswith("sys.modules"):
                self.add(module, ())
        for one in piece.imports:
            self._add_loaded(one)
            if one.name == "*":
                self._add_import(one)

    def _import(self, module):
        """Importing a module runs its package's __init__, its own statements and the modules that it imports."""
        self.add(module.rpartition(".")[0], None)
        scanned = self._scanned(module)
        if scanned.statements:
            self.found[module, STATEMENTS] = " ".join(piece.digest for piece in scanned.statements)
        for piece in scanned.statements:
            self.read(module, piece)
            for one in piece.imports:
                self._add_import(one)
        for one in (piece.binds for group in scanned.definitions.values() for piece in group if piece.binds):
            self._add_loaded(one)

    def _attribute(self, module, name, *rest):
        pieces = self._scanned(module).definitions.get(name, ())
        if pieces:
            self.found[module, name] = " ".join(piece.digest for piece in pieces)
        for piece in pieces:
            if piece.binds:
                self._add_import(piece.binds, rest)
            else:
                self.read(module, piece)
        inside = f"{module}.{name}"
        hidden = any(piece.binds and piece.binds.loads.startswith(f"{inside}.") for piece in pieces)
        if inside in self.files and not hidden:
            self.add(inside, rest)
        elif not pieces and name not in _HARMLESS:
            self.add(module, ())  # a name that the module makes in some other way

    def _add_import(self, one, rest=()):
        self.add(one.module, (*one.attribute, *rest))

    def _add_loaded(self, one):
        parts = one.loads.split(".")
        for count in range(1, len(parts) + 1):
            self.add(".".join(parts[:count]), None)
        if one.again and one.loads in self.files:
            self._add_import(one)

    def _scanned(self, module):
        return scan(module, *self.files[module])
