"""Test functions of any dimension: values from the literature, minima, and starting points drawn by the seed."""

import math
from typing import Any

import numpy as np
import pytest

from talweg_core import problems
from talweg_core.checks import check_gradient
from talweg_core.errors import InvalidProblem
from talweg_core.layout import Array
from talweg_core.problems import SurfaceProblem
from talweg_core.problems.rotated_quadratic import RotatedQuadratic

NAMES = ["ackley", "griewank", "rosenbrock-n", "styblinski-tang"]
# Each usual domain, as the sources give it.
BOXES = {
    "ackley": (-32.768, 32.768),
    "griewank": (-600.0, 600.0),
    "rastrigin": (-5.12, 5.12),
    "rosenbrock-n": (-2.048, 2.048),
    "styblinski-tang": (-5.0, 5.0),
    "rotated-quadratic": (-1.0, 3.0),
}


def cost(name: str, point: list[float], **settings: Any) -> float:
    """The cost at a point, in float64."""
    problem = problems.create(name, dimension=len(point), **settings)
    row = np.array([point], dtype=np.float64)
    return float(problem.bind(row, np.empty_like(row), [0], 0).costs(0)[0])


@pytest.mark.parametrize(
    ("name", "point", "expected"),
    [
        # The classical start of dimension 2, and of its extension by pairs: Moré, Garbow & Hillstrom 1981, problem 1.
        ("rosenbrock-n", [-1.2, 1.0], 24.2),
        ("rosenbrock-n", [0.0] * 7, 6.0),
        # Beside the local minimum of Shang & Qiu 2006.
        ("rosenbrock-n", [-1.0] + [1.0] * 9, 4.0),
        ("ackley", [1.0, 1.0], 20 - 20 * math.exp(-0.2)),
        ("ackley", [1.0] * 30, 3.6253849384403627),
        ("styblinski-tang", [0.0] * 4, 0.0),
        ("styblinski-tang", [-2.903534] * 2, -78.33233),
        ("styblinski-tang", [2.746803, -2.903534], -64.195612),
        ("griewank", [math.pi, 0.0], 2 + math.pi**2 / 4000),
        # One of the local minima of dimension 2 (Törn & Žilinskas 1989).
        ("griewank", [3.140023, 4.438445], 0.007396),
        ("rastrigin", [1.0] * 5, 5.0),
        ("rastrigin", [4.52299366] * 2, 80.70658039),
    ],
)
def test_a_function_has_the_value_that_the_literature_gives(name: str, point: list[float], expected: float) -> None:
    # As many digits as are given.
    assert cost(name, point) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_in_two_dimensions_it_is_the_rosenbrock_that_was_there() -> None:
    two = problems.create("rosenbrock")
    point = np.array([[0.3, -1.7]])
    assert cost("rosenbrock-n", [0.3, -1.7]) == two.bind(point, np.empty_like(point), [0], 0).costs(0)[0]


@pytest.mark.parametrize("dimension", [4, 10, 30])
def test_rosenbrock_has_its_local_minimum_where_shang_and_qiu_found_it(dimension: int) -> None:
    problem = problems.create("rosenbrock-n", dimension=dimension, start=[-1.0] + [1.0] * (dimension - 1))
    row = problem.initial(0)[None]
    gradient = np.empty_like(row)
    oracle = problem.bind(row, gradient, [0], 0)
    for _ in range(50_000):
        found = oracle.gradient(0)[0]
        row -= 5e-4 * gradient
    # Gradient descent is near enough by then: the cost is wrong by the gradient's square.
    assert np.abs(gradient).max() < 1e-4
    assert row[0, 0] < -0.7
    assert 3.7 < found < 4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dimension", [2, 3, 31])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradients_are_those_of_the_cost_in_every_dimension(name: str, dimension: int, seed: int) -> None:
    # Wherever the seed starts in the domain. A cost of some thousands is rounded to 1e-12, and the gradient check
    # divides by 1e-5.
    assert check_gradient(problems.create(name, dimension=dimension), seed=seed).worst <= 1e-5


def test_ackley_has_no_gradient_at_its_kink() -> None:
    problem = problems.create("ackley", dimension=3, start=[0, 0, 0])
    row = problem.initial(0)[None]
    gradient = np.full_like(row, np.nan)
    assert problem.bind(row, gradient, [0], 0).gradient(0)[0] == pytest.approx(0, abs=1e-15)
    assert not gradient.any()


@pytest.mark.parametrize("name", sorted(BOXES))
def test_seeds_start_at_points_of_their_own_all_over_the_usual_domain(name: str) -> None:
    problem = problems.create(name, dimension=20, start="random")
    starts = np.stack([problem.initial(seed) for seed in range(200)])
    assert np.array_equal(starts[7], problem.initial(7))
    low, high = BOXES[name]
    assert low <= starts.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < starts.max() <= high
    assert len({tuple(start) for start in starts}) == 200
    # 4,000 even draws: their mean is known to 0.5 % of the width.
    assert starts.mean() == pytest.approx((low + high) / 2, abs=0.02 * (high - low))


@pytest.mark.parametrize("name", [*NAMES, "rotated-quadratic"])
def test_seeds_start_apart_unless_told_otherwise(name: str) -> None:
    assert problems.create(name).settings()["start"] == "random"
    fixed = problems.create(name, dimension=2, start=[0.5, -0.5])
    assert np.array_equal(fixed.initial(0), fixed.initial(1))
    assert fixed.settings()["start"] == [0.5, -0.5]


def test_rastrigin_starts_where_it_always_did() -> None:
    problem = problems.create("rastrigin")
    assert problem.settings() == {"start": [3.3, 3.3], "dimension": 2}
    assert np.array_equal(problem.initial(5), [3.3, 3.3])


@pytest.mark.parametrize("name", NAMES)
def test_the_minimum_grows_with_the_dimension_as_stated(name: str) -> None:
    problem = problems.create(name, dimension=50)
    assert isinstance(problem, SurfaceProblem)
    assert cost(name, problem.minimiser.tolist()) == pytest.approx(problem.least, abs=1e-9)
    assert problem.least == pytest.approx(50 * -39.166166 if name == "styblinski-tang" else 0, rel=1e-7)


def turned(**settings: Any) -> RotatedQuadratic:
    """A rotated quadratic."""
    problem = problems.create("rotated-quadratic", **settings)
    assert isinstance(problem, RotatedQuadratic)
    return problem


def hessian(problem: RotatedQuadratic) -> Array:
    """From gradients: column by column, at the minimiser."""
    rows = problem.minimiser + np.eye(problem.layout.size)
    found = np.empty_like(rows)
    problem.bind(rows, found, [0] * len(rows), 0).gradient(0)
    return found


@pytest.mark.parametrize(
    ("spectrum", "expected"),
    [
        ("log", np.geomspace(1e-3, 1, 20)),
        ("linear", np.linspace(1e-3, 1, 20)),
        ("outliers", [1e-3] * 18 + [1.0] * 2),
    ],
)
def test_a_rotated_quadratic_has_the_spectrum_that_it_states(spectrum: str, expected: list[float]) -> None:
    found = hessian(turned(dimension=20, condition=1e3, spectrum=spectrum))
    assert np.allclose(found, found.T, atol=1e-14)
    values = np.linalg.eigvalsh(found)
    assert np.allclose(values, expected, rtol=1e-9)
    assert values[-1] / values[0] == pytest.approx(1e3)


def test_no_coordinate_of_a_rotated_quadratic_is_an_eigenvector() -> None:
    found = hessian(turned())
    diagonal = np.diag(found)
    # What a coordinate sees is an average of the curvatures: all diagonal elements are of the same size, and what
    # stands beside them is not small.
    assert diagonal.max() / diagonal.min() < 5
    scaled = found / np.sqrt(np.outer(diagonal, diagonal))
    assert np.linalg.cond(scaled) > 1e3


def test_another_rotation_is_another_problem_with_the_same_spectrum() -> None:
    one, other = hessian(turned(dimension=10)), hessian(turned(dimension=10, rotation=1))
    assert np.abs(one - other).max() > 0.1
    assert np.allclose(np.linalg.eigvalsh(one), np.linalg.eigvalsh(other))
    assert np.array_equal(one, hessian(turned(dimension=10)))


def test_the_noise_of_a_rotated_quadratic_has_the_hessian_as_its_covariance() -> None:
    problem = turned(dimension=4, condition=10, noise=0.5)
    rows = np.stack([problem.minimiser] * 20_000)
    slopes = np.empty_like(rows)
    oracle = problem.bind(rows, slopes, list(range(len(rows))), 0)
    costs = oracle.gradient(3).copy()
    # 20,000 draws: a covariance is known to about 1 %.
    assert np.allclose(np.cov(slopes.T), 0.25 * hessian(turned(dimension=4, condition=10)), atol=0.01)
    assert np.allclose(slopes.mean(axis=0), 0, atol=0.02)
    assert problem.evaluate(problem.minimiser, "validation") == (problem.least, None)
    assert problem.least == 0.5 * 0.25 * 4
    assert costs.mean() == pytest.approx(problem.least, rel=0.02)


def test_the_noise_of_a_rotated_quadratic_depends_on_seed_and_step_alone() -> None:
    problem = turned(dimension=5, noise=1.0)
    rows = np.stack([problem.initial(0)] * 3)
    slopes = np.empty_like(rows)
    oracle = problem.bind(rows, slopes, [0, 0, 1], 0)
    first = oracle.costs(5).copy()
    assert first[0] == first[1] != first[2]
    assert not np.array_equal(oracle.costs(6), first)
    assert np.array_equal(oracle.costs(5), first)
    assert turned(dimension=5).splits == ()
    assert problem.splits == ("validation", "test")


@pytest.mark.parametrize("spectrum", ["log", "linear", "outliers"])
def test_a_noisy_rotated_quadratic_has_the_gradient_of_what_it_measures(spectrum: str) -> None:
    assert check_gradient(turned(dimension=12, noise=0.3, spectrum=spectrum), seed=3).worst <= 1e-6


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("rosenbrock-n", {"dimension": 1}, "rosenbrock-n: dimension must lie in [2, 1000000], got 1"),
        ("ackley", {"dimension": 2.0}, "ackley: dimension must lie in [1, 1000000], got 2.0"),
        ("griewank", {"start": "zero"}, "griewank: start must be \"random\" or a list of 10 numbers, got 'zero'"),
        ("beale", {"start": "random"}, "beale: start must be a list of 2 numbers, got 'random'"),
        ("styblinski-tang", {"start": [1.0]}, "styblinski-tang: start must have 10 numbers, got [1.0]"),
        ("rotated-quadratic", {"dimension": 1001}, "rotated-quadratic: dimension must lie in [1, 1000], got 1001"),
        ("rotated-quadratic", {"condition": 0.5}, "rotated-quadratic: condition must lie in [1, ∞), got 0.5"),
        ("rotated-quadratic", {"spectrum": "even"}, "spectrum must be one of log, linear, outliers, got 'even'"),
        ("rotated-quadratic", {"noise": -1}, "rotated-quadratic: noise must lie in [0, ∞), got -1"),
        ("rotated-quadratic", {"rotation": -1}, "rotated-quadratic: rotation must be a seed, from 0, got -1"),
    ],
)
def test_a_wrong_setting_is_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidProblem) as caught:
        problems.create(name, **settings)
    assert message in str(caught.value)
