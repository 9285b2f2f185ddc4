"""α by hand: the end of a step on a parabola, and the weights of noisy measurements."""

import numpy as np
import pytest

from talweg_core.curvature import step_quality


def measured(length: float, *, curvature: float = 2.0, lowest: float = 1.0) -> tuple[list[float], list[float]]:
    """Costs and slopes of ½ curvature (x − lowest)² at 0 and `length`."""
    points = np.array([0.0, length]) - lowest
    return (0.5 * curvature * points**2).tolist(), (curvature * points).tolist()


@pytest.mark.parametrize("curvature", [1e-6, 2.0, 1e6])
@pytest.mark.parametrize(("length", "alpha"), [(0.5, -0.5), (1.0, 0.0), (1.5, 0.5), (2.0, 1.0), (3.0, 2.0)])
def test_alpha_on_a_parabola_gives_the_end_of_the_step(length: float, alpha: float, curvature: float) -> None:
    assert step_quality(length, *measured(length, curvature=curvature)) == pytest.approx(alpha, abs=1e-9)


def test_alpha_is_minus_one_without_a_step_and_on_a_concave_cost() -> None:
    assert step_quality(0.0, [1, 1], [-1, -1]) == -1
    # cos is concave between 0 and its inflection point.
    assert step_quality(1.0, [1.0, np.cos(1)], [-0.0, -np.sin(1)]) == -1


def test_alpha_of_a_step_that_starts_uphill_is_below_minus_one() -> None:
    assert step_quality(1.0, *measured(1.0, lowest=-1.0)) == pytest.approx(-2.0)


def test_the_measurements_with_small_variance_determine_alpha() -> None:
    # Slopes −2 and 2 give a minimum halfway, α = 1; costs that fall from 1 to 0 contradict them.
    costs, slopes = [1.0, 0.0], [-2.0, 2.0]
    assert step_quality(1.0, costs, slopes, [1e6, 1e6, 1, 1]) == pytest.approx(1, abs=1e-5)
    # By the costs and the first slope alone: 1 − 2 x + x², with its minimum at 1.
    assert step_quality(1.0, costs, slopes, [1, 1, 1, 1e9]) == pytest.approx(0, abs=1e-5)


def test_only_the_proportions_of_the_variances_count() -> None:
    costs, slopes, variances = [1.0, 0.3], [-2.0, 0.7], np.array([1.0, 2.0, 3.0, 4.0])
    assert step_quality(0.4, costs, slopes, 32 * variances) == pytest.approx(
        step_quality(0.4, costs, slopes, variances)
    )


def test_alpha_is_what_the_papers_formula_gives() -> None:
    # μ = (Φ Σ⁻¹ Φᵀ)⁻¹ Φ Σ⁻¹ y and α = −2 t μ₂ / μ₁ − 1, by inverses.
    t, seen_here, variances = 0.3, np.array([1.2, 0.9, -1.5, -0.4]), np.array([0.5, 0.2, 3.0, 7.0])
    phi = np.array([[1, 0, 0], [1, t, t**2], [0, 1, 0], [0, 1, 2 * t]]).T
    weights = np.diag(1 / variances)
    mu = np.linalg.inv(phi @ weights @ phi.T) @ phi @ weights @ seen_here
    found = step_quality(t, seen_here[:2], seen_here[2:], variances)
    assert found == pytest.approx(-2 * t * mu[2] / mu[1] - 1, rel=1e-9)


def test_what_is_not_finite_has_none() -> None:
    assert np.isnan(step_quality(1.0, [1, np.nan], [-1, 1]))
    assert np.isnan(step_quality(np.inf, [1, 1], [-1, 1]))


def test_alpha_is_nan_on_a_constant_cost_and_infinite_from_the_minimum() -> None:
    assert np.isnan(step_quality(1.0, [3, 3], [0, 0]))
    # By rounding, the step may start uphill.
    assert abs(step_quality(1.0, [0, 1], [0, 2])) > 1e6
