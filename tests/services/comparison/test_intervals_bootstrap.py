"""Intervals: seeded, and with their coverage (the full figures: benchmarks/intervals.py)."""

import math

import numpy as np
import pytest

from talweg.comparison.intervals import (
    Interval,
    _corrected,
    exponential,
    interquartile_mean,
    mean_interval,
    quantiles,
    stratified_interval,
)


def test_the_same_data_and_seed_give_the_same_interval() -> None:
    # Without a skew the interval would be Student's, which needs no random numbers.
    values = np.exp(np.arange(8.0))
    assert mean_interval(values) == mean_interval(values) != mean_interval(values, seed=1)


def test_the_interval_moves_and_scales_with_the_data() -> None:
    values = np.random.default_rng(0).normal(size=9)
    plain, moved = mean_interval(values), mean_interval(3 * values + 7)
    assert moved.low == pytest.approx(3 * plain.low + 7, rel=1e-12)
    assert moved.high == pytest.approx(3 * plain.high + 7, rel=1e-12)


def test_one_value_bounds_nothing_and_equal_ones_are_certain() -> None:
    alone, equal = mean_interval([2.0]), mean_interval([2.0, 2.0, 2.0])
    assert (alone.estimate, alone.low, alone.high) == (2.0, -np.inf, np.inf)
    assert (equal.low, equal.high) == (2.0, 2.0)


def test_fewer_than_five_values_have_students_interval() -> None:
    # Mean 2, standard error 1 / √3, and t with 2 degrees of freedom has 97.5 % below 4.3027.
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.high - 2 == 2 - found.low == pytest.approx(4.302652729749462 / 3**0.5, rel=1e-9)


def test_an_interval_of_logarithms_becomes_one_of_ratios_and_stays_unbounded() -> None:
    assert exponential(Interval(0.0, -np.inf, np.inf)) == Interval(1.0, -np.inf, np.inf)
    assert exponential(Interval(0.0, -1000.0, 1000.0)) == Interval(1.0, 0.0, np.inf)


def test_quantiles_are_order_statistics() -> None:
    draws = np.array([*range(40), np.inf], dtype=float)
    assert quantiles(draws, 0.95) == (1.0, 39.0)
    assert quantiles(np.array([1.0, np.inf]), 0.95) == (1.0, np.inf)


def test_a_stratified_resample_draws_within_each_problem() -> None:
    # A problem with one run has only that one: drawn across problems, this statistic would vary.
    found = stratified_interval(lambda parts: float(parts[0].mean() - parts[1].mean()), [[5.0], [2.0]], resamples=20)
    assert (found.estimate, found.low, found.high) == (3.0, 3.0, 3.0)
    spread = stratified_interval(interquartile_mean_of, [np.arange(8.0), np.arange(8.0) + 4], resamples=200)
    assert spread.low < spread.estimate < spread.high


def interquartile_mean_of(parts: object) -> float:
    return interquartile_mean(np.concatenate([np.ravel(part) for part in parts]))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("sides", "n", "expected"),
    [
        # The shorter moves half of the way to Student's 2, the longer stays.
        ((1.0, 5.0), 10, (1.5, 5.0)),
        ((5.0, 1.0), 10, (5.0, 1.5)),
        # Heavy tails: both are Student's at least.
        ((1.0, 1.6), 10, (1.5, 2.0)),
        # No skew: both are Student's. Fewer than eight values cannot show that there is none.
        ((3.0, 4.0), 8, (2.0, 2.0)),
        ((3.0, 4.0), 7, (2.5, 4.0)),
        ((1.0, math.inf), 10, (1.5, math.inf)),
    ],
)
def test_both_sides_are_corrected_towards_students(
    sides: tuple[float, float], n: int, expected: tuple[float, float]
) -> None:
    assert _corrected(*sides, 2.0, n) == expected
