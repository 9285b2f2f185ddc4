"""The largest eigenvalue by products: against matrices with known eigenvalues, and on the engine's problems."""

import numpy as np
import pytest

from talweg_core import Cohort, optimizers, problems
from talweg_core.curvature import largest_eigenvalue
from talweg_core.problems.noisy_quadratic import NoisyQuadratic
from talweg_core.randomness import stream


def test_the_eigenvalue_of_a_diagonal_is_the_largest_not_the_largest_in_absolute_value() -> None:
    diagonal = np.array([-9.0, 0.5, 3.0, 1.0])
    found = largest_eigenvalue(lambda v: diagonal * v, np.ones(4), tolerance=1e-12)
    assert found.value == pytest.approx(3.0, rel=1e-12)
    # Four products span all of four dimensions.
    assert found.products == 4


def test_one_product_is_enough_along_an_eigenvector() -> None:
    found = largest_eigenvalue(lambda v: np.array([2.0, 5.0]) * v, np.array([0.0, 3.0]))
    assert (found.value, found.error, found.products) == (5.0, 0.0, 1)


def test_a_hessian_of_zeros_has_an_eigenvalue_of_zero() -> None:
    assert largest_eigenvalue(np.zeros_like, np.ones(3)).value == 0


def test_the_error_bounds_the_distance_to_an_eigenvalue() -> None:
    generator = stream(0, "check")
    for size in (2, 5, 40, 200):
        half = generator.normal(size=(size, size))
        matrix = half + half.T
        for most in (1, 2, 5, 20, 64):
            found = largest_eigenvalue(lambda v, m=matrix: m @ v, generator.normal(size=size), most=most)  # type: ignore[misc]  # a default binds it
            nearest = float(np.abs(np.linalg.eigvalsh(matrix) - found.value).min())
            assert nearest <= found.error + 1e-9 * size
            assert found.products <= most


def test_what_is_not_finite_has_none() -> None:
    assert np.isnan(largest_eigenvalue(lambda v: v * np.inf, np.ones(3)).value)


def test_a_cohorts_products_give_the_quadratics_largest_curvature() -> None:
    problem = problems.create("noisy-quadratic")
    assert isinstance(problem, NoisyQuadratic)
    cohort = Cohort(problem, [optimizers.create("sgd")], [0])
    before = cohort.parameters.copy()
    found = largest_eigenvalue(cohort.hessian_product, stream(0, "probe", 0).normal(size=100), tolerance=1e-6)
    assert found.value == pytest.approx(float(problem.curvatures.max()), rel=1e-6)
    assert np.array_equal(cohort.parameters, before)


def test_the_eigenvalue_of_a_network_is_that_of_the_whole_hessian() -> None:
    cohort = Cohort(problems.create("wine-mlp"), [optimizers.create("sgd")], [0], precision="float64")
    size = cohort.problem.layout.size
    whole = np.stack([cohort.hessian_product(column) for column in np.eye(size)])
    # A Hessian is symmetric, up to the rounding of the differences.
    assert np.abs(whole - whole.T).max() < 1e-6
    truth = float(np.linalg.eigvalsh((whole + whole.T) / 2)[-1])
    found = largest_eigenvalue(cohort.hessian_product, stream(0, "probe", 0).normal(size=(size,)))
    assert found.value == pytest.approx(truth, rel=1e-4)
    assert abs(found.value - truth) <= found.error + 1e-6


def test_a_relu_that_is_nearly_at_its_kink_does_not_count_as_curvature() -> None:
    # With the width that is best for smooth costs, a difference crosses a kink here and gives 4,187.
    cohort = Cohort(problems.create("digits-mlp"), [optimizers.create("sgd")], [0])
    size = cohort.problem.layout.size
    found = largest_eigenvalue(cohort.hessian_product, stream(0, "probe", 0).normal(size=(size,)))
    assert found.value == pytest.approx(4.325, abs=0.01)
