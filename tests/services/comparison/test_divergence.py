"""Diverged in all but name: the rule, on networks and on test functions."""

from collections.abc import Callable, Sequence

import pytest

from talweg.comparison import Result
from talweg.comparison.divergence import mark_blown_up

Make = Callable[..., Result]


def growths(result: Make, *costs: Sequence[float]) -> list[float]:
    """Of runs with these costs, how many times above its start each ended, where that is far."""
    return [run.blown_up for run in mark_blown_up([result(seed=i, costs=own) for i, own in enumerate(costs)])]


def test_a_run_that_ends_far_above_its_start_has_blown_up(result: Make) -> None:
    assert growths(result, [2.0, 1e3, 4e5], [2.0, 1.0, 0.5]) == [2e5, 0.0]


def test_ten_times_above_is_not_far(result: Make) -> None:
    assert growths(result, [2.0, 20.0], [2.0, 20.1]) == [0.0, pytest.approx(10.05)]


def test_what_rises_and_comes_down_has_trained(result: Make) -> None:
    """Momentum on Rosenbrock's function leaves the valley by orders of magnitude, and comes back."""
    assert growths(result, [24.2, 1e6, 1e-9]) == [0.0]


def test_where_costs_are_negative_the_height_is_over_the_lowest_of_them(result: Make) -> None:
    """Styblinski and Tang's function has its minimum at −78.3 in two dimensions."""
    # Heights 78.3 − 38.3 = 40 at the start; 39 and 1,078.3 at the end.
    assert growths(result, [-38.3, -78.3], [-38.3, -39.3], [-38.3, 1000.0]) == [0.0, 0.0, pytest.approx(1078.3 / 40)]


def test_a_start_that_was_small_by_luck_is_held_against_the_others(result: Make) -> None:
    """Of single examples, one is close to its target by chance."""
    assert growths(result, [1e-6, 0.9], [1.1, 0.9], [0.8, 0.9]) == [0.0, 0.0, 0.0]


def test_a_run_that_diverged_is_not_counted_twice(result: Make) -> None:
    (run,) = mark_blown_up([result(costs=[1.0, 1e9], stop_reason="diverged")])
    assert (run.diverged, run.blown_up, run.failed_to_train, run.complete) == (True, 0.0, True, False)
