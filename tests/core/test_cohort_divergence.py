"""Runs that diverge: each stops alone, with step and reason, and no warning escapes (warnings are errors here)."""

from typing import Any

import numpy as np
import pytest

from talweg_core import Cohort, optimizers, problems
from talweg_core.checks import check_gradient
from talweg_core.explain import explain
from talweg_core.layout import Array

STEPS = 12
# The runs, of 64, that diverge, sooner or later, by their learning rate.
DIVERGING = {0: 1e30, 5: 1e12, 17: 1e15, 33: 1e30, 62: 1e18, 63: 1e13}
SIZE, BATCH = 64, 8


def walk(rates: list[float], seeds: list[int]) -> tuple[Cohort, Array, list[int | None]]:
    """A cohort of digits-mlp under SGD, its costs (steps, R), and at which step each run diverged."""
    rules = [optimizers.create("sgd", learning_rate=rate) for rate in rates]
    runs = Cohort(problems.create("digits-mlp"), rules, seeds, batch_size=BATCH)
    costs: list[Array] = []
    stopped: list[int | None] = [None] * len(seeds)
    for record in runs.run(STEPS):
        costs.append(np.where(record.stepped, record.costs, np.nan))
        for row in np.flatnonzero(record.diverged):
            stopped[row] = record.step
    return runs, np.array(costs), stopped


def test_of_64_runs_those_that_diverge_stop_with_step_and_reason_and_the_others_keep_their_bits() -> None:
    calm_rates = [float(rate) for rate in np.geomspace(1e-4, 0.1, SIZE)]
    seeds = [row % 9 for row in range(SIZE)]
    rates = [DIVERGING.get(row, calm_rates[row]) for row in range(SIZE)]
    runs, costs, stopped = walk(rates, seeds)
    for row in range(SIZE):
        step = stopped[row]
        assert (step is not None) == (row in DIVERGING)
        assert runs.stop_reasons[row] == ("diverged" if row in DIVERGING else None)
        assert runs.active[row] == (row not in DIVERGING)
        # Recorded up to and including the step at which divergence is detected, and not after.
        assert np.isnan(costs[STEPS if step is None else step + 1 :, row]).all()
    assert len({step for step in stopped if step is not None}) > 1
    calm, expected, none = walk(calm_rates, seeds)
    assert none == [None] * SIZE
    others = [row for row in range(SIZE) if row not in DIVERGING]
    assert np.array_equal(costs[:, others], expected[:, others])
    assert np.array_equal(runs.parameters[others], calm.parameters[others])
    assert all(runs.checkpoint(row) == calm.checkpoint(row) for row in others)


def looked_at_from_all_sides(runs: Cohort) -> None:
    """Call every method of a cohort after each step, for a run that diverges and one that has diverged."""
    before = runs.parameters.copy()
    for _ in range(2):
        runs.gradient()
        runs.costs(before)
        # The run's parameters, multiplied beyond the largest number of the precision.
        runs.costs(np.full(before.shape, 1e300))
        runs.norms(before, runs.advance())
        before = runs.parameters.copy()
        for row in (1, 3):
            for split in runs.problem.splits[:1]:
                runs.evaluate(row, split)
            runs.restore(row, runs.checkpoint(row))
            name = runs.problem.layout.names[0]
            index = (0,) * len(runs.problem.layout.shapes[0])
            assert explain(runs, row, name, index, update=float("nan")).sentence


def lost(problem: str, optimizer: str, **settings: Any) -> Cohort:
    """Five runs with growing learning rates, from one that converges to one that diverges at once."""
    rule = optimizers.create(optimizer)
    made = problems.create(problem)
    rates = [rule.learning_rate, 1e30, 1e-3, 1e-3, 1e-3]
    rules = [optimizers.create(optimizer, learning_rate=rate) for rate in rates]
    size = None if rule.full_batch else min(made.default_batch_size, BATCH) or None
    runs = Cohort(made, rules, [0, 1, 2, 3, 4], batch_size=size, **settings)
    runs.parameters[2:] = np.array([3e38, np.inf, np.nan])[:, None]
    return runs


@pytest.mark.parametrize("problem", problems.names())
def test_no_problem_warns_when_runs_diverge(problem: str) -> None:
    looked_at_from_all_sides(lost(problem, "adam"))


@pytest.mark.parametrize("optimizer", optimizers.names())
def test_no_optimizer_warns_when_runs_diverge(optimizer: str) -> None:
    looked_at_from_all_sides(lost("wine-mlp", optimizer))


@pytest.mark.parametrize("value", [3e38, np.inf, np.nan])
def test_a_gradient_check_where_the_cost_is_not_finite_fails_without_a_warning(value: float) -> None:
    problem = problems.create("wine-mlp")
    errors = check_gradient(problem, parameters=np.full(problem.layout.size, value)).relative_errors
    assert not (errors <= 1e-6).any()
