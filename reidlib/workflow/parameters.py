"""Check a notebook's parameters in the cell after `parameters`: unknown names and wrong values are errors.

    from reidlib.workflow.parameters import check, integer, number, one_of, optional, text

    p = check(globals(), dataset=text(), loss=one_of("triplet", "lossless"), seed=integer(min=0), root=optional(text()))

It needs neither papermill nor IPython, so the same cell works in JupyterLab, under papermill, and in a plain script.
"""

import ast
import difflib
from collections.abc import Callable, Mapping
from types import SimpleNamespace

Rule = Callable[[object], str | None]

_IPYTHON = {"In", "Out", "exit", "quit", "open", "get_ipython", "display"}
_VALUES = (type(None), bool, int, float, str, list, tuple, dict)
_CHECKED = "_parameters_checked"


class ParameterError(ValueError):
    """A parameter has an unknown name or a wrong value."""


def check(namespace: dict, **rules: Rule) -> SimpleNamespace:
    """The ruled names of `namespace` with their values, unchanged.

    namespace: a notebook's `globals()`.
    rules: name -> rule; a rule is a function of the value that returns what is wrong with it, or None.
    Raises ParameterError with one line for each fault: an unknown name (any public name that holds a plain value and
    has no rule), a name that is missing, a value that its rule refuses. When the cell is run again in the same session,
    variables that later cells made are not mistaken for parameters.
    """
    faults = [f"unknown parameter {name!r}{_meant(name, rules)}" for name in _unknown(namespace, rules)]
    namespace[_CHECKED] = True
    for name, rule in rules.items():
        if name not in namespace:
            faults.append(f"parameter {name!r} is missing: give it a value in the cell tagged `parameters`")
            continue
        fault = rule(namespace[name])
        if fault:
            faults.append(f"{name} = {namespace[name]!r}: {fault}")
    if faults:
        raise ParameterError("\n".join(faults))
    return SimpleNamespace(**{name: namespace[name] for name in rules})


def _unknown(namespace: Mapping, rules: Mapping) -> list[str]:
    names = [name for name, value in namespace.items() if isinstance(value, _VALUES)]
    names = [name for name in names if not name.startswith("_") and name not in rules and name not in _IPYTHON]
    if namespace.get(_CHECKED):
        last = next((cell for cell in reversed(namespace.get("In", [])) if assigned(cell) & set(rules)), "")
        names = [name for name in names if name in assigned(last)]
    return names


def assigned(code: str) -> set[str]:
    """Names that `code` assigns at its top level; empty where it does not parse (a cell with magics)."""
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return set()
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


def value_of(word: str):
    """What `-p name WORD` means: True, False, None, a whole number, a number, or else the word itself."""
    if word in ("True", "False", "None", "true", "false", "null"):
        return {"t": True, "f": False, "n": None}[word[0].lower()]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def _meant(word: object, known) -> str:
    """ "; did you mean 'loss'?" for the known word nearest to `word`, or nothing."""
    close = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def one_of(*choices) -> Rule:
    """One of the listed values."""

    def rule(value):
        if any(value == choice and type(value) is type(choice) for choice in choices):
            return None
        near = _meant(value, choices) if isinstance(value, str) else ""
        return f"must be one of {', '.join(map(repr, choices))}{near}"

    return rule


def text() -> Rule:
    """A string that is not empty."""
    return lambda value: None if isinstance(value, str) and value else "must be a text in quotes, not empty"


def boolean() -> Rule:
    """True or False."""
    return lambda value: None if isinstance(value, bool) else "must be True or False"


def integer(min: int | None = None, max: int | None = None) -> Rule:
    """A whole number, min and max included."""

    def rule(value):
        if isinstance(value, bool) or not isinstance(value, int):
            return f"must be a whole number{_between(min, max)}"
        return _outside(value, min, max)

    return rule


def number(min: float | None = None, max: float | None = None) -> Rule:
    """A finite number, min and max included; whole numbers are numbers too."""

    def rule(value):
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or value != value
            or abs(value) == float("inf")
        ):
            return f"must be a number{_between(min, max)}"
        return _outside(value, min, max)

    return rule


def list_of(rule: Rule) -> Rule:
    """A list, each of whose values the rule accepts."""

    def listed(values):
        if not isinstance(values, list | tuple):
            return "must be a list"
        faults = [f"value {i + 1} ({value!r}) {fault}" for i, value in enumerate(values) if (fault := rule(value))]
        return "; ".join(faults) or None

    return listed


def optional(rule: Rule) -> Rule:
    """None, or what the rule accepts."""

    def opted(value):
        fault = None if value is None else rule(value)
        return f"{fault}, or None" if fault else None

    return opted


def _between(low, high) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f" of at least {low}"
    return f" of at most {high}" if low is None else f" from {low} to {high}"


def _outside(value, low, high) -> str | None:
    below, above = low is not None and value < low, high is not None and value > high
    return f"must be a number{_between(low, high)}" if below or above else None
