"""Costs against their definitions, written out in NumPy."""

import numpy as np
import pytest

from talweg_core import costs
from talweg_core.errors import InvalidNetwork, UnknownName
from talweg_core.layout import Array


def measured(name: str, predictions: Array, targets: object) -> tuple[Array, Array]:
    """Costs (R,) and derivative."""
    derivative = np.empty_like(predictions)
    bound = costs.create(name).bind(predictions, targets, derivative)
    bound.forward()
    return bound.costs, derivative


@pytest.fixture
def predictions() -> Array:
    """3 runs, 4 examples, 5 outputs."""
    return np.random.default_rng(0).normal(0, 2, (3, 4, 5))


def test_squared_error_is_the_mean_over_batch_and_outputs(predictions: Array) -> None:
    y = np.ones((3, 4, 5))
    cost, derivative = measured("squared_error", predictions, y)
    assert np.allclose(cost, ((predictions - y) ** 2).mean(axis=(1, 2)))
    assert np.allclose(derivative, 2 * (predictions - y) / 20)


def test_absolute_error_is_level_where_it_is_zero() -> None:
    cost, derivative = measured("absolute_error", np.array([[[1.0, -3.0]]]), np.array([[[1.0, 1.0]]]))
    assert cost.tolist() == [2]
    assert derivative.tolist() == [[[0, -0.5]]]


def test_cross_entropy_is_the_mean_negative_log_probability(predictions: Array) -> None:
    labels = np.array([[0, 1, 2, 3], [4, 4, 4, 4], [0, 0, 1, 2]])
    cost, derivative = measured("cross_entropy", predictions, labels)
    p = np.exp(predictions) / np.exp(predictions).sum(axis=-1, keepdims=True)
    chosen = np.take_along_axis(p, labels[..., None], axis=-1)[..., 0]
    assert np.allclose(cost, -np.log(chosen).mean(axis=1))
    assert np.allclose(derivative, (p - np.eye(5)[labels]) / 4)


def test_cross_entropy_survives_predictions_that_exp_does_not() -> None:
    cost, derivative = measured("cross_entropy", np.array([[[1000.0, -1000.0]]]), np.array([[1]]))
    assert cost.tolist() == [2000]
    assert derivative.tolist() == [[[1, -1]]]


@pytest.mark.parametrize("name", sorted(costs.COSTS))
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_prediction_that_is_not_finite_shows_in_cost_or_derivative(name: str, bad: float) -> None:
    predictions = np.zeros((2, 3, 4))
    predictions[1, 2, 1] = bad
    labels = costs.COSTS[name].targets == "labels"
    targets = np.zeros((2, 3), dtype=np.int64) if labels else np.zeros((2, 3, 4))
    with np.errstate(invalid="ignore"):
        cost, derivative = measured(name, predictions, targets)
    assert np.isfinite(cost[0])
    assert np.isfinite(derivative[0]).all()
    assert not (np.isfinite(cost[1]) and np.isfinite(derivative[1]).all())


def test_runs_may_share_one_batch_of_targets(predictions: Array) -> None:
    shared, own = np.zeros((1, 4, 5)), np.zeros((3, 4, 5))
    for first, second in zip(
        measured("squared_error", predictions, shared), measured("squared_error", predictions, own), strict=True
    ):
        assert np.array_equal(first, second)


def test_an_unknown_cost_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'squared_error'"):
        costs.create("square_error")


def test_cross_entropy_needs_one_output_a_class() -> None:
    with pytest.raises(InvalidNetwork, match="one output for each class"):
        measured("cross_entropy", np.zeros((2, 3)), np.zeros((2, 3), dtype=np.int64))
