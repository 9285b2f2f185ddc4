"""Performance profiles by hand."""

import math

import numpy as np
import pytest

from talweg.comparison.profiles import profile, profile_scores, ratios

# Two optimizers on four problems: the last is solved by neither.
TIMES = [[10, 30, 50, math.inf], [20, 10, math.inf, math.inf]]


def test_ratios_are_to_the_fastest_of_each_problem() -> None:
    assert ratios(TIMES).tolist() == [[1, 3, 1, math.inf], [2, 1, math.inf, math.inf]]


def test_a_profile_is_the_share_of_problems_within_a_factor() -> None:
    assert profile(TIMES, [1, 2, 3]).tolist() == [[0.5, 0.5, 0.75], [0.25, 0.5, 0.5]]


def test_scores_are_the_integral_in_closed_form() -> None:
    # (3 + 1 + 3 + 0) / 3 / 4 and (2 + 3 + 0 + 0) / 3 / 4
    assert profile_scores(TIMES) == pytest.approx([7 / 12, 5 / 12], rel=1e-15)
    taus = np.linspace(1, 4, 30_001)
    integral = np.trapezoid(profile(TIMES, taus), taus) / 3
    assert profile_scores(TIMES) == pytest.approx(integral, abs=1e-4)


def test_more_than_r_max_times_as_long_is_a_miss() -> None:
    assert profile_scores([[1.0], [5.0]]).tolist() == [1.0, 0.0]
