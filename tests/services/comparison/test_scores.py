"""Scores against cases worked out by hand."""

import math
from collections.abc import Callable

import pytest

from talweg.comparison import Result, Spread, ranking

Make = Callable[..., Result]


def test_median_and_range_over_seeds(result: Make) -> None:
    runs = [result(seed=seed, costs=[9, final + 1, final]) for seed, final in enumerate([4.0, 1.0, 2.5])]
    (row,) = ranking(runs).rows
    assert row.final_cost == Spread(median=2.5, low=1.0, high=4.0, count=3)
    assert (row.runs, row.complete, row.diverged) == (3, 3, 0)


def test_the_median_of_two_is_their_mean(result: Make) -> None:
    (row,) = ranking([result(seed=0, costs=[1.0]), result(seed=1, costs=[2.0])]).rows
    assert row.final_cost == Spread(1.5, 1.0, 2.0, 2)


def test_best_cost_is_the_least_of_any_step(result: Make) -> None:
    (row,) = ranking([result(costs=[3, 0.5, 2])]).rows
    assert row.best_cost == Spread(0.5, 0.5, 0.5, 1)
    assert row.final_cost == Spread(2.0, 2.0, 2.0, 1)


def test_validation_is_taken_from_the_last_evaluation(result: Make) -> None:
    found = ranking([result(validation=[0.9, 0.4], accuracy=[0.5, 0.8])])
    (row,) = found.rows
    assert row.validation_cost == Spread(0.4, 0.4, 0.4, 1)
    assert row.validation_metric == Spread(0.8, 0.8, 0.8, 1)
    assert (found.ranked_by, found.metric) == ("validation_cost", "accuracy")


def test_validation_cost_orders_where_there_is_one(result: Make) -> None:
    runs = [result("adam", costs=[1.0], validation=[0.7]), result("sgd", costs=[2.0], validation=[0.6])]
    assert [row.label for row in ranking(runs).rows] == ["sgd", "adam"]


def test_a_diverged_run_is_counted_and_never_averaged_in(result: Make) -> None:
    runs = [
        result(seed=0, costs=[2.0, 1.0]),
        result(seed=1, costs=[2.0, 3.0]),
        result(seed=2, costs=[2.0, math.nan], stop_reason="diverged"),
    ]
    (row,) = ranking(runs).rows
    assert row.final_cost == Spread(2.0, 1.0, 3.0, 2)
    assert (row.runs, row.complete, row.diverged) == (3, 2, 1)


def test_an_optimizer_that_mostly_diverges_does_not_lead_by_its_one_good_seed(result: Make) -> None:
    lucky = [result("sgd", seed=0, costs=[0.01])]
    lucky += [result("sgd", seed=seed, costs=[math.inf], stop_reason="diverged") for seed in (1, 2)]
    steady = [result("adam", seed=seed, costs=[1.0]) for seed in range(3)]
    first, second = ranking([*lucky, *steady]).rows
    assert (first.label, second.label) == ("adam", "sgd")
    assert second.final_cost == Spread(0.01, 0.01, 0.01, 1)


def test_equal_numbers_share_a_rank(result: Make) -> None:
    runs = [result("adam", costs=[1.0]), result("sgd", costs=[1.0]), result("rmsprop", costs=[2.0])]
    assert [(row.rank, row.label) for row in ranking(runs).rows] == [(1, "adam"), (1, "sgd"), (3, "rmsprop")]


@pytest.mark.parametrize("state", ["queued", "running", "failed", "cancelled"])
def test_a_run_that_did_not_finish_has_no_score_and_is_last(result: Make, state: str) -> None:
    runs = [result("sgd", costs=[0.1], state=state, stop_reason=None), result("adam", costs=[5.0])]
    first, second = ranking(runs).rows
    assert first.label == "adam"
    assert (second.final_cost, second.complete, second.runs) == (None, 0, 1)


def test_nothing_to_rank_is_no_error() -> None:
    assert ranking([]).rows == ()
