"""What a source file binds at its top level, and which names each of its definitions reads. Nothing is run."""

import ast
import functools
import os
from dataclasses import dataclass, replace
from pathlib import Path

from reidlib.source import code_digest


@dataclass(frozen=True)
class Import:
    """`from module import attribute as name`; with an empty attribute `import module as name`."""

    name: str
    module: str
    attribute: tuple[str, ...]
    loads: str  # the longest dotted name that may be a module: a.b of `import a.b`, which binds a
    again: bool  # `import b as b`, the usual sign of an import that is needed although nothing here uses it


@dataclass(frozen=True)
class Piece:
    """Some code: its hash, the dotted names that it reads, its imports. Of a plain import, `binds` is that import."""

    digest: str
    reads: tuple[str, ...]
    imports: tuple[Import, ...]
    binds: Import | None = None


@dataclass(frozen=True)
class Module:
    """A source file: the pieces that bind each name, and those that run whatever is taken from the module."""

    definitions: dict[str, list[Piece]]
    statements: list[Piece]


@functools.lru_cache(maxsize=4096)
def scan(name, path, mtime_ns, size):
    """The Module in a file; remembered until the file changes."""
    package = name if os.path.basename(path) == "__init__.py" else name.rpartition(".")[0]
    definitions, statements, decorated = {}, [], []
    for statement in _apart(ast.parse(Path(path).read_bytes()).body):
        piece = piece_of(statement, package)
        if isinstance(statement, ast.Import | ast.ImportFrom) and piece.imports[0].name != "*":
            piece = replace(piece, binds=piece.imports[0])
        bound = _bound(statement, piece)
        for bound_name in bound:
            definitions.setdefault(bound_name, []).append(piece)
        if not bound:
            statements.append(piece)
        decorated += [(piece, read) for one in getattr(statement, "decorator_list", ()) for read in _reads(one)]
    for piece, read in decorated:  # a decorator of the package may keep what it is given
        makers = definitions.get(read.partition(".")[0], ())
        if any(not one.binds or one.binds.loads.partition(".")[0] == name.partition(".")[0] for one in makers):
            statements.append(piece)
    return Module(definitions, statements)


def _apart(statements):
    """Statements that can count, an import of several names as several: no texts, no `if __name__ == "__main__"`."""
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                yield type(statement)(**{**vars(statement), "names": [alias]})
        elif isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'":
            yield from _apart(statement.orelse)
        elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            yield statement


def _bound(statement, piece):
    """Names that a definition binds; none for any other statement."""
    if piece.binds:
        return {piece.binds.name}
    inside = list(ast.walk(statement))
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}.union(*(node.names for node in inside if isinstance(node, ast.Global)))
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return set()
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    if any(isinstance(node, ast.Attribute | ast.Subscript) for target in targets for node in ast.walk(target)):
        return set()
    return {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def piece_of(node, package):
    """A statement (or a tree) as a Piece; `package` is what its relative imports start from."""
    tree = node if isinstance(node, ast.Module) else ast.Module([node], [])
    imports = tuple(one for inner in ast.walk(tree) for one in _imports(inner, package))
    return Piece(code_digest(tree), tuple(sorted(set(_reads(tree)))), imports)


def _imports(node, package):
    if isinstance(node, ast.Import):
        for name, new in ((alias.name, alias.asname) for alias in node.names):
            first = name.partition(".")[0]
            yield Import(new or first, name if new else first, (), name, new == name)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
        module = ".".join([*above, node.module] if node.module else above)
        for name, new in ((alias.name, alias.asname) for alias in node.names):
            taken = () if name == "*" else (name,)
            yield Import(new or name, module, taken, ".".join([module, *taken]), new == name)


def _reads(node):
    """Dotted names that code reads: a.b of `a.b(c)[0].d`, and c."""
    dotted = _dotted(node)
    if dotted:
        return [dotted]
    found = list(node.names) if isinstance(node, ast.Global) else []
    for child in ast.iter_child_nodes(node):
        found += _reads(child)
    return found


def _dotted(node):
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return before and f"{before}.{node.attr}"
    return node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else ""
