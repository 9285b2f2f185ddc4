"""The products of the chain rule's factors sum to the gradient of backpropagation."""

from itertools import pairwise

import numpy as np
import pytest

from talweg_core import Cohort, optimizers, problems
from talweg_core.chain_rule import factors, has_factors
from talweg_core.problems import NetworkProblem


@pytest.mark.parametrize("name", ["two-layer-line", "wine-mlp", "deep-linear", "two-spirals", "teacher-student"])
def test_factors_multiply_to_the_gradient(name: str) -> None:
    problem = problems.create(name)
    assert isinstance(problem, NetworkProblem)
    assert has_factors(problem)
    cohort = Cohort(problem, [optimizers.create("sgd")], [3], precision="float64")
    for _ in range(2):
        cohort.advance()
    _, gradient = cohort.gradient()
    tensors = problem.layout.tensors(gradient[0])
    found = factors(problem, cohort.parameters[0], cohort.batch(0, cohort.step))
    for layer in found:
        # The order of summation differs.
        np.testing.assert_allclose(layer.inputs.T @ layer.deltas, tensors[f"{layer.name}.weight"], 1e-9, 1e-12)
        if f"{layer.name}.bias" in tensors:
            np.testing.assert_allclose(layer.deltas.sum(axis=0), tensors[f"{layer.name}.bias"], 1e-9, 1e-12)
    for layer, after in pairwise(found):
        weight = problem.layout.tensors(cohort.parameters[0])[f"{after.name}.weight"]
        np.testing.assert_allclose(layer.arriving, after.deltas @ weight.T, 1e-9, 1e-12)
        np.testing.assert_array_equal(layer.outputs, after.inputs)


def test_the_smallest_network_by_hand() -> None:
    problem = problems.create("two-layer-line")
    assert isinstance(problem, NetworkProblem)
    first, second = factors(problem, np.array([1.0, 0.0, 2.0, 0.0]), np.array([0]))
    # C = |w₂ (w₁ x + b₁) + b₂| at w₁ = 1, w₂ = 2, x = 1.5: ∂C/∂w₁ = x · w₂ · 1 = 3, ∂C/∂w₂ = 1.5 · 1.
    assert (first.inputs.item(), first.deltas.item()) == (1.5, 2.0)
    assert (second.inputs.item(), second.deltas.item(), second.outputs.item()) == (1.5, 1.0, 3.0)


def test_other_problems_have_none() -> None:
    assert not has_factors(problems.create("rosenbrock"))
    assert not has_factors(problems.create("digits-cnn"))
