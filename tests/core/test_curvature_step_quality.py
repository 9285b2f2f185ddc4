"""α by hand: where on a parabola a step ended, and how noise weighs what was seen of it."""

import numpy as np
import pytest

from talweg_core.curvature import step_quality


def seen(length: float, *, curvature: float = 2.0, lowest: float = 1.0) -> tuple[list[float], list[float]]:
    """Costs and slopes of ½ curvature (x − lowest)² at 0 and `length`."""
    points = np.array([0.0, length]) - lowest
    return (0.5 * curvature * points**2).tolist(), (curvature * points).tolist()


@pytest.mark.parametrize("curvature", [1e-6, 2.0, 1e6])
@pytest.mark.parametrize(("length", "alpha"), [(0.5, -0.5), (1.0, 0.0), (1.5, 0.5), (2.0, 1.0), (3.0, 2.0)])
def test_on_a_parabola_it_says_where_the_step_ended(length: float, alpha: float, curvature: float) -> None:
    assert step_quality(length, *seen(length, curvature=curvature)) == pytest.approx(alpha, abs=1e-9)


def test_no_step_stayed_and_a_hill_still_goes_down() -> None:
    assert step_quality(0.0, [1, 1], [-1, -1]) == -1
    # cos between 0 and its turning point is concave.
    assert step_quality(1.0, [1.0, np.cos(1)], [-0.0, -np.sin(1)]) == -1


def test_a_step_that_begins_uphill_is_below_minus_one() -> None:
    assert step_quality(1.0, *seen(1.0, lowest=-1.0)) == pytest.approx(-2.0)


def test_what_was_seen_with_little_noise_decides() -> None:
    # Slopes −2 and 2 put the lowest point halfway, α = 1; costs that fall from 1 to 0 contradict them.
    costs, slopes = [1.0, 0.0], [-2.0, 2.0]
    assert step_quality(1.0, costs, slopes, [1e6, 1e6, 1, 1]) == pytest.approx(1, abs=1e-5)
    # By the costs and the first slope alone: 1 − 2 x + x², lowest at 1.
    assert step_quality(1.0, costs, slopes, [1, 1, 1, 1e9]) == pytest.approx(0, abs=1e-5)


def test_only_the_proportions_of_the_variances_count() -> None:
    costs, slopes, variances = [1.0, 0.3], [-2.0, 0.7], np.array([1.0, 2.0, 3.0, 4.0])
    assert step_quality(0.4, costs, slopes, 32 * variances) == pytest.approx(
        step_quality(0.4, costs, slopes, variances)
    )


def test_it_is_what_the_papers_own_formula_gives() -> None:
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


def test_what_is_level_has_none_and_what_leaves_the_lowest_point_went_without_end() -> None:
    assert np.isnan(step_quality(1.0, [3, 3], [0, 0]))
    # By rounding it may have begun uphill.
    assert abs(step_quality(1.0, [0, 1], [0, 2])) > 1e6
