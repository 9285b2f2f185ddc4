"""Networks in specs: tensor names, and errors that name the layer, the rule and the value."""

from typing import Any

import numpy as np
import pytest

from talweg_core import problems
from talweg_core.errors import InvalidNetwork, InvalidProblem, UnknownName
from talweg_core.network import Network

DENSE = {"layer": "dense", "units": 3}


def without_name(network: Any, dataset: str = "wine", cost: Any = "cross_entropy", **more: Any) -> problems.Problem:
    """A problem without a name."""
    return problems.create(dataset=dataset, network=network, cost=cost, **more)


def test_tensors_are_named_by_kind_and_number() -> None:
    network = Network.create([DENSE, {"layer": "relu"}, {**DENSE, "bias": False}], "squared_error", (5,))
    assert dict(zip(network.layout.names, network.layout.shapes, strict=True)) == {
        "dense1.weight": (5, 3),
        "dense1.bias": (3,),
        "dense2.weight": (3, 3),
    }


def test_a_network_without_a_name_is_the_named_one() -> None:
    layers = [{"layer": "dense", "units": 16}, {"layer": "tanh"}, {"layer": "dense", "units": 3}]
    written, named = without_name(layers), problems.create("wine-mlp")
    assert written.layout == named.layout
    assert np.array_equal(written.initial(3), named.initial(3))
    assert problems.create(**written.settings()).settings() == written.settings()


def test_biases_start_at_zero_and_weights_differ_by_seed() -> None:
    problem = problems.create("digits-mlp")
    first, second = problem.layout.tensors(problem.initial(0)), problem.layout.tensors(problem.initial(1))
    assert not first["dense1.bias"].any()
    assert not np.array_equal(first["dense1.weight"], second["dense1.weight"])


@pytest.mark.parametrize(
    ("network", "error", "message"),
    [
        ([], InvalidNetwork, "network: must have at least one layer, got []"),
        ([{"layer": "dens", "units": 3}], UnknownName, "did you mean 'dense'"),
        ([{"units": 3}], UnknownName, "layer: there is no None"),
        ([{"layer": "dense"}], InvalidNetwork, "dense: units must be given"),
        ([{"layer": "dense", "units": 0}], InvalidNetwork, "dense: units must be an integer of at least 1, got 0"),
        ([{"layer": "dense", "units": 3, "unit": 1}], UnknownName, "dense: setting: there is no 'unit'"),
        ([{**DENSE, "activation": "rleu"}], UnknownName, "did you mean 'relu'"),
        ([{"layer": "relu", "units": 1}], InvalidNetwork, "relu: takes no settings"),
        ([DENSE, {"layer": "dense", "units": 2}], InvalidProblem, "one unit for each of the 3 classes, got 2"),
        ("dense", InvalidProblem, "network: must be a list such as"),
        (
            [DENSE, {"layer": "relu"}, {"layer": "conv2d", "channels": 3}],
            InvalidNetwork,
            "layer 3, conv2d: the input must be (channels, height, width), got the shape (3,)",
        ),
        ([DENSE, {"layer": "lstm", "units": 3}], InvalidNetwork, "layer 2, lstm: the input must be "),
        (
            [DENSE, {"layer": "residual", "layers": [{"layer": "dense", "units": 4}]}],
            InvalidNetwork,
            "layer 2, residual: ",
        ),
        (
            [DENSE, {"layer": "embedding", "vocabulary": 3, "units": 3}],
            InvalidNetwork,
            "layer 2, embedding: must be the first layer, got position 2",
        ),
    ],
)
def test_a_wrong_network_is_refused_by_name_rule_and_value(network: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        without_name(network)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cost": "crossentropy"}, "did you mean 'cross_entropy'"),
        ({"cost": "squared_error"}, "(3,)"),
        ({"dataset": "diabetes"}, "cross_entropy: needs integer labels, but diabetes has real-valued targets"),
        ({"start": [1.0]}, "start must have 42 numbers"),
        ({"strat": [1.0]}, "did you mean 'start'"),
    ],
)
def test_a_problem_that_does_not_fit_together_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidProblem, UnknownName)) as caught:
        without_name(**{"network": [DENSE], **settings})
    assert message in str(caught.value)
