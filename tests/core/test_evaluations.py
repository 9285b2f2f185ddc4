"""Evaluations at trial points: correct, counted, without a change to the cohort."""

import numpy as np
import pytest

from talweg_core import Cohort, optimizers, problems
from talweg_core.evaluations import Trials


def trials(problem_name: str, precision: str = "float64") -> tuple[Trials, Cohort]:
    """The Trials of two runs at step 0."""
    problem = problems.create(problem_name)
    runs = Cohort(problem, [optimizers.create("sgd")] * 2, [0, 1], precision=precision)  # type: ignore[arg-type]
    return runs._trials, runs


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_hessian_product_is_that_of_the_second_derivatives(precision: str) -> None:
    found, runs = trials("rosenbrock", precision)
    x, y = runs.parameters[0].astype(float)
    hessian = np.array([[1200 * x * x - 400 * y + 2, -400 * x], [-400 * x, 200]])
    vectors = np.array([[1.0, -1.0], [0.5, 2.0]], runs.parameters.dtype)
    product = found.hessian_product(vectors, runs.active)
    # As the docstring says, near 1e-10; in float32 the result is rounded to it.
    assert np.allclose(product, vectors @ hessian, rtol=1e-6 if precision == "float32" else 1e-9)


def test_a_hessian_product_is_symmetric_on_a_network() -> None:
    found, runs = trials("wine-mlp")
    u, v = (np.random.default_rng(seed).normal(size=runs.parameters.shape) for seed in (0, 1))
    left = (u * found.hessian_product(v, runs.active)).sum(axis=1)
    right = (v * found.hessian_product(u, runs.active)).sum(axis=1)
    assert np.allclose(left, right, rtol=1e-7)


def test_trials_restore_parameters_gradient_and_batch() -> None:
    found, runs = trials("wine-mlp")
    costs, gradient = (array.copy() for array in runs.gradient())
    parameters = runs.parameters.copy()
    elsewhere = parameters + 0.1
    trial_costs, trial_gradient = found.gradient(elsewhere, runs.active)
    assert np.array_equal(found.costs(elsewhere, runs.active), trial_costs)
    assert not np.array_equal(trial_gradient, gradient)
    assert np.array_equal(runs.parameters, parameters)
    record = runs.advance()
    assert np.array_equal(record.costs, costs)
    assert np.array_equal(record.gradient, gradient)


def test_probes_are_drawn_from_seed_and_step_alone() -> None:
    found, _ = trials("rosenbrock")
    found.begin(3)
    first, other = (found.probe(row).integers(1 << 60) for row in (0, 1))
    found.begin(4)
    later = found.probe(0).integers(1 << 60)
    found.begin(3)
    assert found.probe(0).integers(1 << 60) == first
    assert len({first, other, later}) == 3
