"""The best of k trials, and the sensitivity to the learning rate, by hand."""

import math

import pytest

from talweg.comparison.profiles import expected_best, sensitivity


def test_the_expected_best_of_two_by_hand() -> None:
    # Of 1 and 3: one drawn, 2; two with replacement, 1 in three of four cases; both, 1.
    assert expected_best([3.0, 1.0]) == pytest.approx([2.0, 1.5], rel=1e-15)
    assert expected_best([3.0, 1.0], replace=False) == pytest.approx([2.0, 1.0], rel=1e-15)


def test_a_diverged_trial_makes_infinite_what_it_may_be_drawn_for() -> None:
    assert expected_best([1.0, math.inf]).tolist() == [math.inf, math.inf]
    assert expected_best([1.0, math.inf], replace=False).tolist() == [math.inf, 1.0]


def test_nothing_tried_has_no_best() -> None:
    assert expected_best([]).size == 0


def test_sensitivity_is_the_mean_distance_from_the_best_and_divergence_counts_as_the_start() -> None:
    # Best 1, start 5: (0 + 1 + 4 + 4 + 4) / 5.
    assert sensitivity([1.0, 2.0, 7.0, math.inf, math.nan], start=5.0) == pytest.approx(13 / 5, rel=1e-15)
    assert sensitivity([2.0], start=5.0) == 0.0
