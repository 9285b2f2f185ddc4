"""Small problems with one layer, for checks of its derivatives and values."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from talweg_core.data import Dataset
from talweg_core.layout import Array
from talweg_core.network import Network
from talweg_core.problems import NetworkProblem
from talweg_core.randomness import stream

Layers = list[dict[str, Any]]


def _problem(shape: tuple[int, ...], layers: Layers, seed: int = 0, vocabulary: int = 0) -> NetworkProblem:
    """These layers on 12 random examples of that shape, with squared error; word indices with a vocabulary."""
    generator = stream(seed, "data", 3)
    drawn = generator.integers(0, vocabulary, (12, *shape)) if vocabulary else generator.normal(size=(12, *shape))
    output = Network.create(layers, "squared_error", shape).output
    everything = np.arange(12)
    splits = {"train": everything, "validation": everything, "test": everything}
    dataset = Dataset("drawn", drawn.astype(np.float64), generator.normal(size=(12, *output)), splits)
    return NetworkProblem("drawn", dataset, layers, "squared_error", batch_size=4)


def _outputs(layers: Layers, inputs: Array, parameters: Array | None = None, *, training: bool = False) -> Array:
    """The outputs of a network of these layers for inputs (B, *shape), as one run with seed 0."""
    network = Network.create(layers, "squared_error", inputs.shape[1:])
    row = np.zeros((1, network.layout.size))
    row[0] = network.initial(stream(0, "parameters")) if parameters is None else parameters
    targets = np.zeros((1, len(inputs), *network.output))
    bound = network.bind(inputs[None], targets, row, np.zeros_like(row), training=training, seeds=[0])
    bound.forward(0)
    outputs: Array = bound.predictions[0].copy()
    return outputs


@pytest.fixture(scope="session")
def problem_of() -> Callable[..., NetworkProblem]:
    """`problem_of(shape, layers, seed=0, vocabulary=0)`: the layers on random data under squared error."""
    return _problem


@pytest.fixture(scope="session")
def outputs_of() -> Callable[..., Array]:
    """`outputs_of(layers, inputs, parameters=None, training=False)`: the layers' outputs for a batch, in float64."""
    return _outputs
