"""Medians, ranges, thinning and running medians."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talweg.figures.curves import DRAWN, extremes, median_curve, running_median


def test_median_and_range_of_each_step() -> None:
    curve = median_curve([np.array([3.0, 1.0]), np.array([1.0, 5.0]), np.array([2.0, 3.0])])
    assert curve is not None
    assert curve.median.tolist() == [2.0, 3.0]
    assert (curve.low.tolist(), curve.high.tolist()) == ([1.0, 1.0], [3.0, 5.0])


def test_a_curve_goes_as_far_as_its_shortest_run() -> None:
    curve = median_curve([np.ones(3), np.ones(5)])
    assert curve is not None
    assert curve.steps.tolist() == [0, 1, 2]


def test_no_runs_and_no_steps_have_no_curve() -> None:
    assert median_curve([]) is None
    assert median_curve([np.ones(3), np.empty(0)]) is None


def test_a_long_curve_is_thinned_and_keeps_its_spike() -> None:
    costs = np.ones(50_000)
    costs[31_234] = 7.0
    curve = median_curve([costs])
    assert curve is not None
    assert len(curve.steps) <= DRAWN
    assert curve.thinned == 63
    assert curve.median.max() == curve.high.max() == 7.0
    assert curve.steps[curve.median.argmax()] == 31_234


def test_only_a_noisy_curve_has_a_running_median() -> None:
    steps = np.arange(500)
    calm = median_curve([np.exp(-0.01 * steps)])
    noisy = median_curve([np.exp(-0.01 * steps) * np.where(steps % 2, 1.2, 0.8)])
    assert calm is not None
    assert noisy is not None
    assert calm.smooth is None
    assert noisy.window == 21


def test_a_running_median_is_centred_and_ignores_a_lone_spike() -> None:
    values = np.array([5.0, 4.0, 90.0, 2.0, 1.0])
    assert running_median(values, np.arange(5), 3).tolist() == [5.0, 5.0, 4.0, 2.0, 1.5]


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=60), st.integers(1, 9))
def test_extremes_are_in_their_bucket_and_no_value_lies_outside_of_them(numbers: list[float], width: int) -> None:
    values = np.array(numbers)
    kept = extremes(values, width).reshape(-1, 2)
    for bucket, pair in enumerate(kept):
        first, stop = bucket * width, min((bucket + 1) * width, len(values))
        assert all(first <= index < stop for index in pair)
        inside = np.where(np.isnan(values[first:stop]), np.inf, values[first:stop])
        found = np.where(np.isnan(values[pair]), np.inf, values[pair])
        assert found.min() == inside.min()
        assert found.max() == inside.max()


@pytest.mark.parametrize("length", [1, 2, 3, 1601])
def test_any_length_can_be_drawn(length: int) -> None:
    curve = median_curve([np.linspace(1, 2, length)])
    assert curve is not None
    assert len(curve.steps) == len(curve.median) == len(curve.low) == len(curve.high)
