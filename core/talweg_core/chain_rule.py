"""The factors of the chain rule in a network of dense layers: the arrays whose products sum to a derivative."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talweg_core.layers.dense import Dense
from talweg_core.layout import Array
from talweg_core.problems import NetworkProblem
from talweg_core.problems.network_problem import as_targets

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Factors:
    """One layer y = f(z), z = x W + b, on a batch: ∂C/∂W[i, j] = Σ_n inputs[n, i] deltas[n, j].

    And ∂C/∂b[j] = Σ_n deltas[n, j]. The L1 and L2 terms of the cost are not included.

    Attributes:
        name: The layer's name, as in the tensor names: "dense1".
        activation: f, by name.
        inputs: x (B, in). outputs: y (B, units).
        arriving: ∂C/∂y (B, units), from the next layer (its δ Wᵀ) or, for the last layer, from the cost.
        deltas: δ = ∂C/∂z = ∂C/∂y ⊙ f′(z) (B, units).
    """

    name: str
    activation: str
    inputs: Floats
    outputs: Floats
    arriving: Floats
    deltas: Floats


def has_factors(problem: object) -> bool:
    """Whether the problem is a network of dense layers alone, on one-dimensional inputs."""
    if not isinstance(problem, NetworkProblem):
        return False
    network = problem.network
    return len(network.shape) == 1 and all(isinstance(layer, Dense) for layer in network.layers)


def factors(problem: NetworkProblem, parameters: Array, examples: NDArray[np.int64]) -> list[Factors]:
    """Each layer's factors at `parameters` (P,) on these training examples (B,), in float64; first layer first."""
    inputs, targets = problem.dataset.part("train")
    network, row = problem.network, parameters.astype(np.float64)[None]
    batch = inputs[examples][None].astype(np.float64)
    labels = as_targets(targets[examples], row.dtype)[None]
    bound = network.bind(batch, labels, row, np.zeros_like(row), training=True)
    bound.forward(0)
    found = []
    for position in reversed(range(len(bound.layers))):
        layer, own = network.layers[position], bound.layers[position]
        assert isinstance(layer, Dense)
        assert own.output_derivative is not None
        before = batch[0] if position == 0 else bound.layers[position - 1].outputs[0].copy()
        outputs, arriving = own.outputs[0].copy(), own.output_derivative[0].copy()
        # A dense layer overwrites ∂C/∂y with ∂C/∂z.
        own.backward()
        name = network.stack.names[position]
        found.append(Factors(name, layer.activation, before, outputs, arriving, own.output_derivative[0].copy()))
    return found[::-1]
