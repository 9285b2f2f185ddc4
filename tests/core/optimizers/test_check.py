"""`check` finds planted mistakes by name, with the line; and nothing in rules without a mistake."""

import pytest

from talweg_core import optimizers
from talweg_core.optimizers.brought import load
from talweg_core.optimizers.check import CHECKS, Finding, check, cost
from talweg_core.optimizers.source import name_of

HEAD = """
import random
import time
from datetime import datetime
from time import perf_counter

import numpy as np
from talweg_core.optimizers import CoordinateOptimizer, Optimizer
from talweg_core.optimizers.base import BoundOptimizer
"""
COORDINATE = f"""{HEAD}
class Mine(CoordinateOptimizer):
    state = ("m",)
    learning_rate: float = 0.01
    beta: float = 0.9
    epsilon: float = 1e-8

    def rule(gradient, m, learning_rate, beta, epsilon):
        m = beta * m + (1 - beta) * gradient
        return -learning_rate * m, m
"""
TENSORS = f"""{HEAD}
class Bound(BoundOptimizer):
    def __init__(self, h, layout, dtype):
        self.state = {{"m": np.zeros((h.runs, layout.size), dtype)}}
        self.total = np.zeros((h.runs, layout.size), dtype)
        self.rate = h.learning_rate
        self.k = 0

    def update(self, situation):
        g, m, h = situation.gradient, self.state["m"], situation.hyperparameters
        rate, beta = (x[:, None].astype(g.dtype) for x in (h.learning_rate, h.beta))
        m[:] = beta * m + (1 - beta) * g
        situation.parameters -= rate * m

class Mine(Optimizer):
    learning_rate: float = 0.01
    beta: float = 0.9

    def bind_rule(self, hyperparameters, layout, dtype):
        return Bound(hyperparameters, layout, dtype)
"""
UPDATE = "        situation.parameters -= rate * m"
# The name of the check that finds it, the source, what is changed in it, and the line that is shown.
PLANTED: dict[str, tuple[str, str, str, str, str]] = {
    "wrong sign": (
        "sign", COORDINATE, "return -learning_rate * m, m", "return learning_rate * m, m", "return learning",
    ),
    "wrong sign of tensors": ("sign", TENSORS, "parameters -=", "parameters +=", "situation.parameters +="),
    "a state that is not declared": (
        "state", TENSORS, UPDATE, "        self.total = 0.5 * self.total + g\n" + UPDATE + " + rate * self.total",
        "self.total = 0.5",
    ),
    "a counter of its own": (
        "state", TENSORS, UPDATE, "        self.k += 1\n" + UPDATE + " / self.k", "self.k += 1",
    ),
    "a mean over the runs": ("cohort", TENSORS, "(1 - beta) * g", "(1 - beta) * (g + g.mean(axis=0))", "m[:] = beta"),
    "a norm over the runs": (
        "cohort", TENSORS, UPDATE, UPDATE + " / (1 + np.linalg.norm(g))", "situation.parameters -= rate * m / (1",
    ),
    "the time of day": ("clock", TENSORS, UPDATE, UPDATE + " * (1 + time.time() % 1)", "situation.parameters -= rate"),
    "a stop-watch": ("clock", TENSORS, UPDATE, UPDATE + " * (1 + 0 * perf_counter())", "situation.parameters -= rate"),
    "the date": ("clock", TENSORS, UPDATE, UPDATE + " * datetime.now().day", "situation.parameters -= rate"),
    "NumPy's global seed": (
        "global seed", TENSORS, UPDATE, UPDATE + " * np.random.random()",
        "situation.parameters -= rate * m * np.random",
    ),
    "Python's global seed": (
        "global seed", TENSORS, UPDATE, UPDATE + " * random.random()", "situation.parameters -= rate",
    ),
    "a gradient that is changed in place": (
        "gradient", TENSORS, "        m[:] =", "        situation.gradient *= 2\n        m[:] =",
        "situation.gradient *= 2",
    ),
    "a state in another precision": ("precision", TENSORS, "layout.size), dtype)}", "layout.size))}", "self.state = "),
    "hyperparameters of the first run": (
        "hyperparameters", TENSORS, "h.learning_rate, h.beta)", "h.learning_rate, 0 * h.beta + h.beta[0])",
        "rate, beta =",
    ),
    "a schedule without effect": (
        "schedule", TENSORS, "(h.learning_rate, h.beta)", "(self.rate, h.beta)", "self.rate = h.learning_rate",
    ),
    "a division by zero": (
        "zero gradient", COORDINATE, "-learning_rate * m, m", "-learning_rate * m / abs(m), m",
        "return -learning_rate * m / ",
    ),
    "no way to the minimum": (
        "minimum", COORDINATE, "-learning_rate * m, m", "-0.5 * ((m > 0) - (m < 0)), m", "return -0.5",
    ),
    "something outlives a run": (
        "repeats", TENSORS, UPDATE, "        Mine.calls += 1\n" + UPDATE + " / Mine.calls", "Mine.calls += 1",
    ),
    "a state of changing shape": (
        "contract", TENSORS, UPDATE, UPDATE + '\n        self.state["m"] = np.append(m, m, axis=1)', "",
    ),
    "a word that Numba does not know": ("contract", COORDINATE, "-learning_rate * m, m", "str(m), m", ""),
    "a name that is not defined": ("contract", TENSORS, "rate * m", "rate * n", "situation.parameters -= rate * n"),
}  # fmt: skip


def failed(source: str, name: str) -> dict[str, Finding]:
    """The failed checks by name; only `name` and the contract are checked."""
    return {one.name: one for one in check(load(source, name_of(source)), [name]) if not one.passed}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_found_by_name_with_its_line(mistake: str) -> None:
    name, source, old, new, line = PLANTED[mistake]
    assert old in source
    planted = source.replace(old, new)
    if "Mine.calls" in new:
        planted = planted.replace(
            "    beta: float = 0.9\n\n    def bind", "    beta: float = 0.9\n    calls = 0\n\n    def bind"
        )
    found = failed(planted, name)
    assert name in found, {one: finding.sentence for one, finding in found.items()}
    assert found[name].line.startswith(line), found[name].line


@pytest.mark.parametrize("source", [COORDINATE, TENSORS], ids=["coordinate", "tensors"])
def test_a_rule_without_a_mistake_passes_every_check(source: str) -> None:
    found = check(load(source, name_of(source)))
    assert [one.name for one in found] == ["contract", *CHECKS]
    assert [one.sentence for one in found if not one.passed] == []


@pytest.mark.parametrize("name", ["adam", "muon", "sam"])
def test_talweg_s_own_rules_pass(name: str) -> None:
    kind = optimizers.catalogue()[name]
    assert {one.name: one.sentence for one in check(kind) if not one.passed} == {}


def test_the_cost_of_a_step_is_compared_with_adam_s() -> None:
    found = cost(optimizers.Adam, 2, seconds=0.05)
    assert found.runs == 2
    assert found.own > 0
    assert found.ratio == found.own / found.adam
