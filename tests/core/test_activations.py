"""Activations against their definitions; their derivatives are in test_network_gradients.py."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from talweg_core.activations import ACTIVATIONS, activation
from talweg_core.errors import UnknownName
from talweg_core.layout import Array
from talweg_core.network import Network

DEFINITIONS: dict[str, Callable[[float], float]] = {
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "gelu": lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2)),
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "identity": lambda x: x,
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "tanh": math.tanh,
}
POINTS = [-30.0, -3.0, -0.5, -1e-3, 0.0, 1e-3, 0.5, 3.0, 30.0]


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_is_what_its_name_says(name: str) -> None:
    definition = DEFINITIONS[name]
    assert outputs(name, np.float64) == pytest.approx([definition(x) for x in POINTS], rel=1e-12, abs=1e-15)
    # float32 has 24 bits; a few operations lose a few of them.
    assert outputs(name, np.float32) == pytest.approx([definition(x) for x in POINTS], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_nan_stays_nan_so_that_divergence_is_detected(name: str) -> None:
    assert math.isnan(outputs(name, np.float32, [math.nan])[0])


def outputs(name: str, kind: type[np.floating[Any]], points: list[float] = POINTS) -> list[float]:
    """f of every number, by a network of one layer."""
    network = Network.create([{"layer": name}], "squared_error", (len(points),))
    x: Array = np.array([[points]], dtype=kind)
    none: Array = np.empty((1, 0), kind)
    bound = network.bind(x, np.zeros_like(x), none, none, training=False)
    bound.forward(0)
    return [float(y) for y in bound.predictions[0, 0]]


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'sigmoid'"):
        activation("sigmid")
