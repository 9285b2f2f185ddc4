"""Test functions have the minimum that their file states."""

from typing import Any

import numpy as np
import pytest

from talweg_core import Cohort, optimizers, problems
from talweg_core.errors import InvalidProblem
from talweg_core.layout import Array
from talweg_core.problems import Problem, SurfaceProblem
from talweg_core.problems.noisy_quadratic import NoisyQuadratic
from talweg_core.randomness import stream

SURFACES = [name for name in problems.names() if isinstance(problems.create(name), SurfaceProblem)]


def costs_at(problem: Problem, points: Array) -> tuple[Array, Array]:
    """Costs (n,) and gradients (n, P) of these points (n, P), in float64."""
    rows, gradient = points.astype(np.float64), np.zeros(points.shape)
    oracle = problem.bind(rows, gradient, [0] * len(rows), problem.default_batch_size)
    return oracle.gradient(0).copy(), gradient


@pytest.mark.parametrize("name", SURFACES)
def test_the_stated_minimum_is_reached_at_the_stated_point(name: str) -> None:
    problem = problems.create(name)
    assert isinstance(problem, SurfaceProblem)
    cost, gradient = costs_at(problem, problem.minimiser[None])
    assert cost[0] == pytest.approx(problem.least, abs=1e-12)
    assert np.abs(gradient).max() < 1e-9


@pytest.mark.parametrize("name", SURFACES)
def test_no_point_lies_below_the_stated_minimum(name: str) -> None:
    problem = problems.create(name)
    assert isinstance(problem, SurfaceProblem)
    generator = stream(0, "check", 2)
    near = problem.minimiser + 0.1 * generator.normal(size=(2000, problem.layout.size))
    far = generator.uniform(-10, 15, (20_000, problem.layout.size))
    cost, _ = costs_at(problem, np.concatenate([near, far]))
    assert cost.min() >= problem.least


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("branin", [(-np.pi, 12.275), (3 * np.pi, 2.475)]),
        ("himmelblau", [(-2.805118, 3.131312), (-3.779310, -3.283186), (3.584428, -1.848126)]),
        ("saddle", [(0, -1)]),
    ],
)
def test_equal_minima_are_equal(name: str, others: list[tuple[float, float]]) -> None:
    problem = problems.create(name)
    assert isinstance(problem, SurfaceProblem)
    cost, _ = costs_at(problem, np.array(others))
    # The points are given to 6 digits, and the slope is 0 there.
    assert np.allclose(cost, problem.least, atol=1e-9)


@pytest.mark.parametrize("name", ["branin", "himmelblau", "plateau", "quadratic", "rosenbrock", "saddle"])
def test_adam_reaches_the_minimum(name: str) -> None:
    problem = problems.create(name)
    assert isinstance(problem, SurfaceProblem)
    runs = Cohort(problem, [optimizers.create("adam", learning_rate=0.05)], [0], precision="float64")
    *_, last = runs.run(5000)
    # Adam circles a minimum at a distance of the order of its learning rate's square.
    assert last.costs[0] - problem.least < 1e-2


def test_the_noisy_quadratic_is_least_at_its_minimum_and_costs_there_what_it_says() -> None:
    problem = NoisyQuadratic(draws=20_000)
    cost, gradient = costs_at(problem, problem.minimiser[None])
    # 20,000 draws: the mean of 100 squares, weighed by curvature, is known to about 0.3 %.
    assert cost[0] == pytest.approx(problem.least, rel=0.02)
    assert np.abs(gradient).max() < 1
    assert problem.evaluate(problem.minimiser, "validation") == (problem.least, None)
    assert problem.evaluate(problem.start, "test")[0] > problem.least


def test_the_noisy_quadratic_has_the_spectrum_that_deepobs_gives_it() -> None:
    problem = NoisyQuadratic()
    hessian = problem.rotation.T @ np.diag(problem.curvatures) @ problem.rotation
    values = np.linalg.eigvalsh(hessian)
    assert (values[:90] > 0).all()
    assert (values[:90] < 1).all()
    assert (values[90:] > 30).all()
    assert (values[90:] < 60).all()


def test_noise_depends_on_seed_and_step_and_on_nothing_before() -> None:
    problem = problems.create("noisy-quadratic")
    rows = np.stack([problem.initial(0)] * 3)
    oracle = problem.bind(rows, np.zeros_like(rows), [0, 0, 1], 0)
    first = oracle.costs(5).copy()
    assert first[0] == first[1] != first[2]
    assert not np.array_equal(oracle.costs(6), first)
    assert np.array_equal(oracle.costs(5), first)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("rastrigin", {"dimension": 0}, "rastrigin: dimension must lie in [1, 1000000], got 0"),
        ("quadratic", {"dimension": True}, "quadratic: dimension must lie in [1, 1000000], got True"),
        ("noisy-quadratic", {"noise": -1}, "noisy-quadratic: noise must lie in [0, ∞), got -1"),
        ("noisy-quadratic", {"draws": 1.5}, "noisy-quadratic: draws must lie in [1, 1000000], got 1.5"),
        ("deep-linear", {"depth": 0}, "deep-linear: depth must lie in [1, 100], got 0"),
        ("beale", {"start": [1.0]}, "beale: start must have 2 numbers"),
    ],
)
def test_a_wrong_setting_is_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidProblem) as caught:
        problems.create(name, **settings)
    assert message in str(caught.value)
