"""Unknown names and wrong values in a notebook's parameters are errors, in words that help."""

import subprocess
import sys

import pytest

from reidlib.workflow.parameters import (
    ParameterError,
    assigned,
    boolean,
    check,
    integer,
    list_of,
    number,
    one_of,
    optional,
    text,
    value_of,
)

RULES = {"loss": one_of("triplet", "lossless"), "seed": integer(min=0), "root": optional(text())}


def given(**more):
    return {"loss": "triplet", "seed": 0, "root": None, **more}


def test_the_values_come_back_unchanged():
    p = check(given(seed=3), **RULES)
    assert vars(p) == {"loss": "triplet", "seed": 3, "root": None}


def test_an_unknown_name_is_an_error_that_says_which_was_meant():
    with pytest.raises(ParameterError, match=r"^unknown parameter 'los'; did you mean 'loss'\?$"):
        check(given(los="lossless"), **RULES)


def test_a_wrong_value_is_an_error_that_lists_the_right_ones():
    with pytest.raises(
        ParameterError, match=r"^loss = 'tripplet': must be one of 'triplet', 'lossless'; did you mean 'triplet'\?$"
    ):
        check(given(loss="tripplet"), **RULES)


def test_every_fault_has_its_line():
    with pytest.raises(ParameterError) as caught:
        check({"loss": "x", "seed": -1, "sed": 1}, **RULES)
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines] == ["unknown", "loss", "seed", "parameter"]
    assert lines[-1].startswith("parameter 'root' is missing")


def test_modules_functions_and_private_names_are_no_parameters():
    check(given(os=sys, helper=print, _private=1, In=["x"], Out={}, exit=object()), **RULES)


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (one_of(1, 2), [1, 2], [3, "1", True, 1.0]),
        (integer(min=0, max=9), [0, 9], [-1, 10, 1.0, "1", True, None]),
        (integer(), [-5], [0.5]),
        (number(min=0.5), [0.5, 1, 2.5], [0.4, float("nan"), float("inf"), "1", False]),
        (number(max=1), [-3, 1], [1.5]),
        (boolean(), [True, False], [0, 1, "True", None]),
        (text(), ["a"], ["", 1, None]),
        (optional(text()), ["a", None], ["", 1]),
        (list_of(integer(min=1)), [[], [1, 2], (3,)], [1, [0], ["1"], None]),
    ],
)
def test_rules(rule, good, bad):
    assert [rule(value) for value in good] == [None] * len(good)
    assert all(isinstance(rule(value), str) for value in bad)


def test_a_range_is_named():
    assert integer(min=1, max=8)(9) == "must be a number from 1 to 8"
    assert number(min=0)("x") == "must be a number of at least 0"
    assert "value 2 (0)" in list_of(integer(min=1))([1, 0])


def test_the_cell_can_be_run_again_after_later_cells_made_variables():
    cells = ["", "loss = 'triplet'\nseed = 0\nroot = None", "p = check(...)"]
    space = given(In=cells)
    check(space, **RULES)
    space["losses"] = [0.1, 0.2]  # a later cell's result, whose name is near a parameter's
    cells += ["losses = [0.1, 0.2]", "p = check(...)"]
    check(space, **RULES)
    cells += ["loss = 'lossless'\nsed = 4", "p = check(...)"]
    with pytest.raises(ParameterError, match="unknown parameter 'sed'; did you mean 'seed'"):
        check({**space, "sed": 4}, **RULES)


def test_names_of_a_parameters_cell():
    assert assigned("a, (b, c) = 1, (2, 3)\nd: int = 4\nif True:\n    e = 5\nf.g = 6") >= {"a", "b", "c", "d"}
    assert assigned("%matplotlib inline") == set()


def test_words_of_a_command_line():
    words = ["True", "false", "None", "3", "-2", "1e-3", "0.5", "triplet", "a b", ""]
    assert [value_of(word) for word in words] == [True, False, None, 3, -2, 0.001, 0.5, "triplet", "a b", ""]


def test_it_needs_no_ipython():
    code = "import sys, reidlib.workflow.parameters as p; p.check({'a': 1}, a=p.integer())\n"
    code += "assert not {'IPython', 'papermill', 'nbformat', 'yaml', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
