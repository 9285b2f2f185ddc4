"""Backpropagation against central differences in float64: every problem, layer, activation and cost there is.

The tolerance is 1e-6: with h = 1e-5 the truncation error is of order h² = 1e-10 and rounding of order 1e-16 / h =
1e-11, both relative to third derivatives and costs of order 1 to 1000. Examples are drawn but not at random
(`derandomize`): a kink (relu, maximum, absolute value) within h of a drawn point would break the rule by chance.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg_core import problems
from talweg_core.activations import ACTIVATIONS
from talweg_core.checks import check_gradient
from talweg_core.costs import COSTS
from talweg_core.data import Dataset, split
from talweg_core.problems import NetworkProblem
from talweg_core.randomness import stream

TOLERANCE = 1e-6
drawn = settings(derandomize=True, deadline=None, max_examples=15)


def data(shape: tuple[int, ...], outputs: int, *, labels: bool, seed: int = 0) -> Dataset:
    """20 random examples of that shape, with labels or values as targets."""
    generator = stream(seed, "data", 1)
    inputs = generator.normal(size=(20, *shape))
    targets = generator.integers(0, outputs, 20) if labels else generator.uniform(0, 1, (20, outputs))
    if labels:
        targets[:outputs] = range(outputs)
    return split("drawn", inputs, targets, seed=seed, standardise=False)


@pytest.mark.parametrize("name", problems.names())
@pytest.mark.parametrize("seed", [0, 1])
def test_every_problem_has_the_gradient_of_its_cost(name: str, seed: int) -> None:
    problem = problems.create(name)
    start = problem.initial(seed)
    # Beside the start, where symmetric initial values could hide an error.
    point = start + 0.05 * stream(seed, "check", 1).normal(size=start.shape)
    size = min(problem.default_batch_size, 8) or None
    assert check_gradient(problem, parameters=point, seed=seed, batch_size=size).worst <= TOLERANCE


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("alone", [False, True], ids=["fused", "alone"])
@drawn
@given(width=st.integers(1, 5), units=st.integers(1, 5), bias=st.booleans(), seed=st.integers(0, 1000))
def test_every_activation_has_the_derivative_of_its_value(
    activation: str, alone: bool, width: int, units: int, bias: bool, seed: int
) -> None:
    # A second activation in between keeps the one that is tested from being fused into the dense layer.
    between = [{"layer": "tanh"}] if alone else []
    network: list[dict[str, Any]] = [
        {"layer": "dense", "units": units, "bias": bias, "initial": "glorot"},
        *between,
        {"layer": activation},
        {"layer": "dense", "units": 2},
    ]
    problem = NetworkProblem("drawn", data((width,), 2, labels=False, seed=seed), network, "squared_error")
    assert check_gradient(problem, seed=seed, batch_size=4).worst <= TOLERANCE


@pytest.mark.parametrize("cost", sorted(COSTS))
@drawn
@given(outputs=st.integers(2, 6), batch=st.integers(1, 7), seed=st.integers(0, 1000))
def test_every_cost_has_the_derivative_that_it_gives(cost: str, outputs: int, batch: int, seed: int) -> None:
    labels = COSTS[cost].targets == "labels"
    network = [{"layer": "dense", "units": outputs}]
    problem = NetworkProblem("drawn", data((3,), outputs, labels=labels, seed=seed), network, cost)
    assert check_gradient(problem, seed=seed, batch_size=batch).worst <= TOLERANCE


@drawn
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_dense_layers_in_sequence_pass_derivatives_back(units: list[int], shape: tuple[int, int]) -> None:
    network: list[dict[str, Any]] = []
    for number in units:
        network += [{"layer": "dense", "units": number}, {"layer": "sigmoid"}]
    dataset = data(shape, 1, labels=False)
    targets = stream(0, "data", 2).normal(size=(20, shape[0], units[-1]))
    dataset = Dataset(dataset.name, dataset.inputs, targets, dataset.splits)
    problem = NetworkProblem("drawn", dataset, network, "squared_error")
    assert check_gradient(problem, batch_size=5).worst <= TOLERANCE
