"""Time to target by hand: misses are infinite, and enter medians."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from talweg.comparison import Evaluations, Result
from talweg.comparison.times import CLOCKS, best_judged, median_time, target_of, ticks, time_to_target

Make = Callable[..., Result]


@pytest.fixture
def run(result: Make) -> Result:
    """Six steps, judged before steps 0, 2, 4 and after the last at 1, 0.5, 0.3, 0.4."""
    made = result(costs=[1.0] * 6)
    evaluations = {"validation": Evaluations(np.array([0, 2, 4, 6]), np.array([1.0, 0.5, 0.3, 0.4]))}
    return replace(made, evaluations=evaluations, batch_size=10)


def test_the_time_is_that_of_the_first_evaluation_at_the_target(run: Result) -> None:
    assert time_to_target(run, 0.5) == 2
    assert time_to_target(run, 0.49) == 4
    assert time_to_target(run, 0.1) == math.inf


def test_a_target_beyond_the_budget_is_missed(run: Result) -> None:
    assert time_to_target(run, 0.3, budget=4) == 4
    assert time_to_target(run, 0.3, budget=3.9) == math.inf


def test_a_start_at_the_target_takes_one_step(run: Result) -> None:
    assert time_to_target(run, 2.0) == 1


def test_without_a_validation_split_the_costs_of_the_steps_judge(result: Make) -> None:
    assert time_to_target(result(costs=[4, 3, 2, 1]), 2.0) == 2


def test_clocks_count_what_each_step_took(run: Result) -> None:
    # A gradient a step, and at step 1 two costs and a Hessian product besides: 1 + 2 / 2 + 2.
    made = np.array([[1, 0, 0], [1, 2, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]])
    timed = replace(run, evaluations_made=made, seconds=np.full(6, 0.25))
    assert ticks(timed, "steps").tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert ticks(timed, "gradients").tolist() == [0, 1, 5, 6, 7, 8, 9]
    assert ticks(timed, "examples").tolist() == [0, 10, 50, 60, 70, 80, 90]
    assert ticks(timed, "seconds").tolist() == [0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5]
    assert [time_to_target(timed, 0.5, clock) for clock in CLOCKS] == [2, 5, 50, 0.5]


def test_a_miss_enters_the_median_as_infinite() -> None:
    assert median_time([3, math.inf, 5]) == 5
    assert median_time([3, math.inf, math.inf]) == math.inf
    assert median_time([3, 5]) == 4
    assert median_time([3, math.inf]) == math.inf
    assert median_time([]) == math.inf


def test_the_target_is_the_best_references_median_of_the_best_within_its_share(result: Make) -> None:
    def reached(*bests: float) -> list[Result]:
        # The best of all comes at the end, past three quarters of the budget of eight steps.
        return [result(costs=[9.0, best, 9.0, 9.0, 9.0, 9.0, 9.0, 0.0]) for best in bests]

    references = [reached(3, 1, 2), reached(5, 1.5, 1.25)]
    assert target_of(references, steps=8) == 1.5
    assert target_of(references, steps=8, share=1.0) == 0.0
    assert target_of([], steps=8) == math.inf


def test_the_best_skips_what_is_not_finite(result: Make) -> None:
    assert best_judged(result(costs=[2.0, 1.0, math.nan])) == 1.0
    assert best_judged(result(costs=[math.nan])) == math.inf
