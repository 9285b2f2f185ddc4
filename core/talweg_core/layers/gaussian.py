"""The sampling layer of a variational autoencoder: a draw from a normal distribution, and its divergence as a cost."""

from dataclasses import dataclass
from math import exp
from typing import Any, ClassVar

import numpy as np

from talweg_core.compilation import kernel
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space
from talweg_core.randomness import keys, normal


@dataclass(frozen=True)
class Gaussian(Layer):
    """z = μ + ε exp(½ λ), for inputs μ and λ = log σ², k numbers each; ε is standard normal.

    ε of step t depends on (seed, "noise", t) alone. In evaluation z = μ.
    Added to the cost: weight · mean over the batch of KL = −½ Σ (1 + λ − μ² − exp λ), the divergence from N(0, 1).
    ∂C/∂μ = ∂C/∂z + weight μ / B, ∂C/∂λ = ∂C/∂z ½ ε exp(½ λ) + weight ½ (exp λ − 1) / B.
    Source: Kingma & Welling 2014, "Auto-encoding variational Bayes", equation 10 and appendix B.
    """

    weight: float = 1.0
    kind: ClassVar[str] = "gaussian"

    def __post_init__(self) -> None:
        """Check the weight."""
        self.require_number("weight", self.weight, 0, np.inf)

    def output(self, shape: Shape) -> Shape:
        """(2 k,) becomes (k,)."""
        if len(shape) != 1 or shape[0] % 2:
            raise self.needs("(2 k,): means, then logarithms of variances", shape)
        return (shape[0] // 2,)

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return _BoundGaussian(self, space)


class _BoundGaussian(BoundLayer):
    def __init__(self, layer: Gaussian, space: Space) -> None:
        (size,) = layer.output(space.shape)
        self.outputs = space.empty((size,))
        self._noise = space.zeros(space.runs, space.batch * size)
        self._x, self._dx = space.inputs, space.input_derivative
        self._weight, self._training = float(layer.weight), space.training
        self.cost = np.zeros(space.runs)
        if space.training:
            self._keys = keys(space.seeds, space.path)
            self.output_derivative = space.empty((size,))

    def forward(self, step: int) -> None:
        if self._training:
            normal(self._keys, step, self._noise)
        _draw(self._x, self._noise, self._weight, self.outputs, self.cost)

    def backward(self) -> None:
        if self._dx is not None:
            _derivatives(self._x, self._noise, self._weight, self.output_derivative, self._dx)


@kernel
def _draw(x: Any, noise: Any, weight: float, z: Any, costs: Any) -> None:
    runs, batch, size = z.shape
    for r in range(runs):
        x_r, total = x[r if len(x) > 1 else 0], 0.0
        for b in range(batch):
            for k in range(size):
                mean, spread = float(x_r[b, k]), float(x_r[b, size + k])
                z[r, b, k] = mean + noise[r, b * size + k] * exp(0.5 * spread)
                total -= 0.5 * (1 + spread - mean * mean - exp(spread))
        costs[r] = weight * total / batch


@kernel
def _derivatives(x: Any, noise: Any, weight: float, dz: Any, dx: Any) -> None:
    runs, batch, size = dz.shape
    share = weight / batch
    for r in range(runs):
        for b in range(batch):
            for k in range(size):
                mean, spread, slope = float(x[r, b, k]), float(x[r, b, size + k]), float(dz[r, b, k])
                dx[r, b, k] = slope + share * mean
                drawn = 0.5 * noise[r, b * size + k] * exp(0.5 * spread)
                dx[r, b, size + k] = slope * drawn + 0.5 * share * (exp(spread) - 1)
