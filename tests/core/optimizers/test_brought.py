"""Users' own optimizers: what is filled in, what breaks the contract, and what a bound rule is kept from."""

from typing import Any

import numpy as np
import pytest

from talweg_core import Cohort, problems
from talweg_core.optimizers.brought import UnusableRule, load, try_out
from talweg_core.optimizers.source import name_of

SIGN = """
from talweg_core.optimizers import CoordinateOptimizer

class Mine(CoordinateOptimizer):
    \"\"\"m ← β m + (1 − β) g, θ ← θ − η sign(m).

    Source: nobody 2026.
    \"\"\"
    state = ("m",)
    learning_rate: float = 0.25
    beta: float = 0.5

    def rule(gradient, m, learning_rate, beta):
        m = beta * m + (1 - beta) * gradient
        return -learning_rate * ((m > 0) - (m < 0)), m
"""
TENSORS = """
import numpy as np
from talweg_core.optimizers import Optimizer
from talweg_core.optimizers.base import BoundOptimizer

class Bound(BoundOptimizer):
    def __init__(self, h, layout, dtype):
        self.state = {"m": np.zeros((h.runs, layout.size), dtype)}

    def update(self, s):
        rate = s.hyperparameters.learning_rate[:, None].astype(s.gradient.dtype)
        self.state["m"] = 0.5 * self.state["m"] + s.gradient
        s.parameters -= rate * self.state["m"]

class Mine(Optimizer):
    learning_rate: float = 0.125

    def bind_rule(self, hyperparameters, layout, dtype):
        return Bound(hyperparameters, layout, dtype)
"""


def loaded(source: str) -> Any:
    """The class of a source."""
    return load(source, name_of(source))


def test_ten_lines_are_an_optimizer() -> None:
    kind = loaded(SIGN)
    assert kind.name == name_of(SIGN)
    assert kind(beta=0.25).settings() == {"learning_rate": 0.25, "beta": 0.25}
    runs = Cohort(problems.create("two-layer-line"), [kind(), kind(learning_rate=0.125)], [0, 0])
    runs.advance()
    # All four derivatives at (1, 0, 2, 0) are positive.
    assert runs.parameters.tolist() == [[0.75, -0.25, 1.75, -0.25], [0.875, -0.125, 1.875, -0.125]]


def test_a_rule_of_tensors_may_replace_its_state() -> None:
    kind = loaded(TENSORS)
    whole, resumed = (Cohort(problems.create("wine-mlp"), [kind()], [3]) for _ in range(2))
    for _ in whole.run(7):
        pass
    resumed.restore(0, whole.checkpoint(0))
    for runs in (whole, resumed):
        for _ in runs.run(15):
            pass
    assert np.array_equal(whole.parameters, resumed.parameters)
    assert whole.checkpoint(0) == resumed.checkpoint(0)


@pytest.mark.parametrize(
    ("source", "old", "new", "message"),
    [
        (SIGN, "def rule", "def role", "Mine: must define rule("),
        (
            SIGN,
            "gradient, m, learning",
            "gradient, learning",
            "rule must take its state m, got gradient, learning_rate",
        ),
        (
            SIGN,
            "beta):",
            "beto):",
            "rule takes beto, which is neither gradient, parameter, state nor a hyperparameter; did",
        ),
        (SIGN, "rule(gradient", "rule(self, gradient", "rule takes no self"),
        (SIGN, '("m",)', '"m"', "state must be a tuple of names such as ('m',), got 'm'"),
        (SIGN, "beta: float = 0.5", "beta = 0.5", "beta = 0.5 must have its type, to be a hyperparameter: beta: float"),
        (SIGN, "beta: float = 0.5", "beta: str = 'x'", "beta must have a number, true or false as its default"),
        (SIGN, "import CoordinateOptimizer", "import Coordinates", "cannot be imported here: ImportError"),
        (
            SIGN,
            "from talweg_core",
            "import nowhere\nfrom talweg_core",
            "cannot be imported here: ModuleNotFoundError: No",
        ),
        (TENSORS, "def bind_rule", "def bind", "Mine: must define bind_rule, as a subclass of Optimizer"),
    ],
)
def test_a_broken_contract_is_named(source: str, old: str, new: str, message: str) -> None:
    with pytest.raises(UnusableRule) as refused:
        loaded(source.replace(old, new))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("source", "old", "new", "message"),
    [
        (SIGN, "beta * m +", "str(m) +", "Mine: its rule cannot be compiled: No implementation of function"),
        (SIGN, "(m < 0)), m", "(m < 0)), m, m", "Mine"),
        (TENSORS, "s.parameters -= rate", "s.parameters -= undefined", "NameError: name 'undefined' is not defined"),
        (
            TENSORS,
            "+ s.gradient",
            "+ s.gradient\n        s.gradient[:] = 0",
            "line 13: ValueError: assignment destination",
        ),
        (
            TENSORS,
            "s.parameters -=",
            'self.state["m"] = self.state["m"][:, :-1]; rate *',
            "must keep its shape (2, 4), got (2, 3)",
        ),
        (TENSORS, "(h.runs, layout.size)", "layout.size", "state m must have one row for each of 2 runs, got (4,)"),
        (
            TENSORS,
            'self.state["m"] = 0.5',
            'self.state["v"] = 0.5',
            "its state must keep its names ['m'], got ['m', 'v']",
        ),
        (
            TENSORS,
            "return Bound(hyperparameters, layout, dtype)",
            "return None",
            "must return a BoundOptimizer, got None",
        ),
    ],
)
def test_a_rule_that_fails_in_its_first_steps_is_found(source: str, old: str, new: str, message: str) -> None:
    assert old in source
    kind = loaded(source.replace(old, new))
    with pytest.raises(UnusableRule) as refused:
        try_out(kind)
    assert message in str(refused.value)


def test_a_run_that_rests_keeps_its_parameters_and_state_whatever_the_rule_writes() -> None:
    kind = loaded(TENSORS)
    runs, other = (Cohort(problems.create("wine-mlp"), [kind(), kind()], [1, 2]) for _ in range(2))
    for _ in runs.run(3):
        pass
    runs.freeze(0, "cancelled")
    kept, state = runs.parameters[0].copy(), runs.state["m"][0].copy()
    for _ in runs.run(6):
        pass
    for _ in other.run(6):
        pass
    assert np.array_equal(runs.parameters[0], kept)
    assert np.array_equal(runs.state["m"][0], state)
    assert np.array_equal(runs.parameters[1], other.parameters[1])
