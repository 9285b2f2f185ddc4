"""Aggregates by hand."""

import math

import pytest

from talweg.comparison.intervals import (
    geometric_mean,
    interquartile_mean,
    optimality_gap,
    probability_of_improvement,
    speed_up,
)


def test_the_interquartile_mean_drops_a_quarter_at_either_end() -> None:
    assert interquartile_mean([[100, 3], [1, 2]]) == 2.5
    # ⌊5 / 4⌋ = 1 at either end.
    assert interquartile_mean([0, 1, 2, 3, 100]) == 2.0
    assert math.isnan(interquartile_mean([]))


def test_the_optimality_gap_counts_nothing_above_the_optimum() -> None:
    # 1 − (0.5 + 1 + 0) / 3
    assert optimality_gap([0.5, 2.0, 0.0]) == 0.5


def test_the_probability_of_improvement_counts_pairs_and_ties_by_half() -> None:
    # (1, 2) against (2, 3): below in 1-2, 1-3, 2-3, equal in 2-2.
    assert probability_of_improvement([[1, 2]], [[2, 3]]) == 3.5 / 4
    assert probability_of_improvement([[1, 2], [5]], [[2, 3], [4]]) == (3.5 / 4 + 0) / 2


def test_runs_that_never_arrived_are_equal_to_each_other_and_behind_all_others() -> None:
    assert probability_of_improvement([[math.inf]], [[math.inf]]) == 0.5
    assert probability_of_improvement([[7.0]], [[math.inf]]) == 1.0


def test_the_speed_up_is_a_geometric_mean_over_the_problems_that_both_solved() -> None:
    # Twice as fast, half as fast, eight times as fast; the fourth was missed.
    factor, problems = speed_up([10, 20, 5, math.inf], [20, 10, 40, 7])
    assert factor == pytest.approx(2.0, rel=1e-15)
    assert problems == 3
    assert geometric_mean([2, math.inf]) == math.inf
