"""Costs and gradients of single examples: against batches of one, and against noise whose size is known."""

from typing import Any

import numpy as np
import pytest

from talweg_core import Cohort, optimizers, problems
from talweg_core.data import Dataset
from talweg_core.problems import NetworkProblem
from talweg_core.problems.noisy_quadratic import NoisyQuadratic

LAYERS: list[dict[str, Any]] = [{"layer": "dense", "units": 8}, {"layer": "relu"}, {"layer": "dense", "units": 3}]


def at_start(problem: problems.Problem, **settings: object) -> Cohort:
    """A cohort of one run of it, in float64."""
    return Cohort(problem, [optimizers.create("sgd")], [0], precision="float64", **settings)  # type: ignore[arg-type]  # a batch size


@pytest.mark.parametrize("cost", ["cross_entropy", {"name": "cross_entropy", "l2": 0.01, "l1": 0.001}])
def test_each_is_what_a_batch_of_that_example_alone_gives(cost: object) -> None:
    problem = problems.create(dataset="wine", network=LAYERS, cost=cost)
    assert isinstance(problem, NetworkProblem)
    cohort = at_start(problem, batch_size=16)
    cohort.advance()
    examples = [(own, gradient.copy()) for own, gradient in cohort.examples()]
    assert len(examples) == 16
    for position, (own, gradient) in zip(cohort.batch(0, 1), examples, strict=True):
        kept = problem.dataset
        chosen = kept.splits["train"][[position]]
        alone = NetworkProblem(
            "alone",
            Dataset("alone", kept.inputs, kept.targets, {"train": chosen}),
            LAYERS,
            cost,  # type: ignore[arg-type]  # a cost
        )
        one = at_start(alone, batch_size=1)
        one.parameters[:] = cohort.parameters
        costs, expected = one.gradient()
        assert own == pytest.approx(float(costs[0]), rel=1e-12)
        np.testing.assert_allclose(gradient, expected[0], rtol=1e-10, atol=1e-14)


def test_computing_examples_changes_nothing() -> None:
    one, other = (Cohort(problems.create("digits-mlp"), [optimizers.create("adam")], [0]) for _ in range(2))
    for _ in range(3):
        assert len(list(one.examples())) == one.batch_size
        one.hessian_product(one.parameters[0])
        one.advance(), other.advance()
    assert one.checkpoint(0) == other.checkpoint(0)


def test_the_examples_of_the_noisy_quadratic_have_the_covariance_of_its_formula() -> None:
    problem = NoisyQuadratic(noise=0.5, draws=4000)
    cohort = at_start(problem)
    costs, whole = cohort.gradient()
    cost, whole = float(costs[0]), whole[0].copy()
    examples = [(own, gradient.copy()) for own, gradient in cohort.examples()]
    gradients = np.stack([gradient for _, gradient in examples])
    assert np.mean([own for own, _ in examples]) == pytest.approx(cost, rel=1e-12)
    np.testing.assert_allclose(gradients.mean(axis=0), whole, rtol=1e-9, atol=1e-9)
    # g_b = Q (θ − x_b) with x of deviation noise: a covariance of noise² Q², whose trace is noise² Σ λ².
    scatter = float(gradients.var(axis=0, ddof=1).sum())
    assert scatter == pytest.approx(0.25 * float(np.sum(problem.curvatures**2)), rel=0.05)


def test_a_test_function_has_no_examples() -> None:
    assert list(at_start(problems.create("rosenbrock")).examples()) == []
