"""The factors of the chain rule in a network of dense layers: what one derivative is a product and a sum of."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from talweg_core.layers.base import BoundLayer, Slot, Space
from talweg_core.layers.dense import Dense
from talweg_core.layout import Array
from talweg_core.problems import NetworkProblem
from talweg_core.problems.network_problem import as_targets

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Factors:
    """One layer y = f(z), z = x W + b, on a batch: ∂C/∂W[i, j] = Σ_n inputs[n, i] deltas[n, j].

    And ∂C/∂b[j] = Σ_n deltas[n, j]. The terms that a cost adds for the size of the weights are not part of it.

    Attributes:
        name: "dense1", as the tensors are named.
        activation: f, by name.
        inputs: x (B, in). outputs: y (B, units).
        arriving: ∂C/∂y (B, units), from the layer after it: δ W′ᵀ there, or the cost's derivative.
        deltas: δ = ∂C/∂z = ∂C/∂y ⊙ f′(z) (B, units).
    """

    name: str
    activation: str
    inputs: Floats
    outputs: Floats
    arriving: Floats
    deltas: Floats


def has_factors(problem: object) -> bool:
    """The problem is a network of dense layers on plain rows of numbers, and nothing else."""
    if not isinstance(problem, NetworkProblem):
        return False
    network = problem.network
    return len(network.shape) == 1 and all(isinstance(layer, Dense) for layer in network.layers)


def factors(problem: NetworkProblem, parameters: Array, examples: NDArray[np.int64]) -> list[Factors]:
    """Each layer's factors at `parameters` (P,) on these training examples (B,), in float64; first layer first."""
    inputs, targets = problem.dataset.part("train")
    network, row = problem.network, parameters.astype(np.float64)[None]
    gradient = np.zeros_like(row)
    values, slopes = network.layout.views(row), network.layout.views(gradient)
    space = Space(
        runs=1,
        batch=len(examples),
        inputs=inputs[examples][None].astype(np.float64),
        input_derivative=None,
        parameters=row,
        gradient=gradient,
        slots={},
        training=True,
    )
    bound: list[BoundLayer] = []
    for name, layer in zip(network.stack.names, network.layers, strict=True):
        own = [full for full in network.layout.names if full.startswith(f"{name}.")]
        slots = {
            full.removeprefix(f"{name}."): Slot(network.layout.slice(full).start, values[full], slopes[full])
            for full in own
        }
        bound.append(layer.bind(replace(space, slots=slots)))
        space = replace(space, inputs=bound[-1].outputs, input_derivative=bound[-1].output_derivative)
    derivative = bound[-1].output_derivative
    assert derivative is not None
    cost = network.cost.bind(bound[-1].outputs, as_targets(targets[examples], row.dtype)[None], derivative)
    for each in bound:
        each.forward(0)
    cost.forward()
    found = []
    for position in reversed(range(len(bound))):
        layer, output = network.layers[position], bound[position].output_derivative
        assert isinstance(layer, Dense)
        assert output is not None
        before = inputs[examples].astype(np.float64) if position == 0 else bound[position - 1].outputs[0].copy()
        outputs, arriving = bound[position].outputs[0].copy(), output[0].copy()
        # In place, a dense layer turns ∂C/∂y into ∂C/∂z.
        bound[position].backward()
        name = network.stack.names[position]
        found.append(Factors(name, layer.activation, before, outputs, arriving, output[0].copy()))
    return found[::-1]
