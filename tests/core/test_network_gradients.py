"""Backpropagation against central differences in float64: every problem, layer, activation and cost.

The tolerance is 1e-6: with h = 1e-5 the truncation error is of order h² = 1e-10 and rounding of order 1e-16 / h =
1e-11, both relative to third derivatives and costs of order 1 to 1000. Examples are drawn but not at random
(`derandomize`): a kink (relu, maximum, absolute value) within h of a drawn point would break the rule by chance.
"""

import dataclasses
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
    # Away from the start, where symmetric initial values could hide an error.
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
    # A second activation in between prevents fusing the tested one into the dense layer.
    between = [{"layer": "tanh"}] if alone else []
    network: list[dict[str, Any]] = [
        {"layer": "dense", "units": units, "bias": bias, "initial": "glorot"},
        *between,
        {"layer": activation},
        {"layer": "dense", "units": 2},
    ]
    problem = NetworkProblem("drawn", data((width,), 2, labels=False, seed=seed), network, "squared_error")
    assert check_gradient(problem, seed=seed, batch_size=4).worst <= TOLERANCE


@st.composite
def costs(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """A cost with settings, and with L1 and L2 terms."""
    own: dict[str, st.SearchStrategy[float]] = {"huber": st.floats(0.1, 2), "cross_entropy": st.floats(0, 0.9)}
    described: dict[str, Any] = {"name": name, "l1": draw(st.floats(0, 0.5)), "l2": draw(st.floats(0, 0.5))}
    if name in own:
        described[{"huber": "delta", "cross_entropy": "label_smoothing"}[name]] = draw(own[name])
    return described


def test_every_setting_of_a_cost_is_tested() -> None:
    @drawn
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        for name, kind in COSTS.items():
            assert set(data.draw(costs(name))) - {"name"} == {field.name for field in dataclasses.fields(kind)}

    holds()


@pytest.mark.parametrize("name", sorted(COSTS))
@drawn
@given(data_=st.data(), outputs=st.integers(2, 6), batch=st.integers(1, 7), seed=st.integers(0, 1000))
def test_every_cost_with_its_terms_has_the_derivative_that_it_gives(
    name: str, data_: st.DataObject, outputs: int, batch: int, seed: int
) -> None:
    labels = COSTS[name].targets == "labels"
    network: list[dict[str, Any]] = [
        {"layer": "dense", "units": 3}, {"layer": "tanh"}, {"layer": "dense", "units": outputs},
    ]  # fmt: skip
    dataset = data((3,), outputs, labels=labels, seed=seed)
    problem = NetworkProblem("drawn", dataset, network, data_.draw(costs(name)))
    assert check_gradient(problem, seed=seed, batch_size=batch).worst <= TOLERANCE


@drawn
@given(times=st.integers(1, 4), classes=st.integers(2, 5), smoothing=st.floats(0, 0.9), seed=st.integers(0, 1000))
def test_labels_at_every_time_of_a_sequence_count_as_examples(
    times: int, classes: int, smoothing: float, seed: int
) -> None:
    generator = stream(seed, "data", 4)
    labels = generator.integers(0, classes, (20, times))
    labels[0, 0] = classes - 1
    dataset = split("drawn", generator.normal(size=(20, times, 3)), labels, seed=seed, standardise=False)
    cost = {"name": "cross_entropy", "label_smoothing": smoothing}
    problem = NetworkProblem("drawn", dataset, [{"layer": "dense", "units": classes}], cost)
    assert check_gradient(problem, seed=seed, batch_size=5).worst <= TOLERANCE


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
