"""Batch normalisation: each channel scaled to mean 0 and variance 1 over the batch, then scaled and shifted."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from talweg_core.compilation import kernel
from talweg_core.initial import Initial
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space


@dataclass(frozen=True)
class BatchNorm(Layer):
    """y = γ x̂ + β, x̂ = (x − μ) / √(σ² + ε), for each channel; μ and σ² over batch and positions, N numbers.

    ∂C/∂β = Σ δ, ∂C/∂γ = Σ δ x̂, ∂C/∂x = γ / √(σ² + ε) (δ − (Σ δ + x̂ Σ δ x̂) / N), with δ = ∂C/∂y.
    Evaluation uses the running mean and variance, s ← (1 − momentum) s + momentum · (that of the batch), with the
    batch's variance over N − 1. They are state: updated once in each step, not by the optimizer; part of a checkpoint.
    Source: Ioffe & Szegedy 2015, algorithms 1 and 2; momentum and N − 1 as in PyTorch.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    kind: ClassVar[str] = "batch_norm"

    def __post_init__(self) -> None:
        """Check the settings."""
        self.require_number("momentum", self.momentum, 0, 1)
        self.require_number("epsilon", self.epsilon, 0, 1)

    def output(self, shape: Shape) -> Shape:
        """The same shape."""
        if len(shape) not in (1, 3):
            raise self.needs("(features,) or (channels, height, width)", shape)
        return shape

    def tensors(self, shape: Shape) -> dict[str, Initial]:
        """scale γ and shift β, each (channels,)."""
        return {"scale": Initial(shape[:1], "ones"), "shift": Initial(shape[:1])}

    def state(self, shape: Shape) -> dict[str, Initial]:
        """mean and variance, each (channels,)."""
        return {"mean": Initial(shape[:1]), "variance": Initial(shape[:1], "ones")}

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return _BoundBatchNorm(self, space)


class _BoundBatchNorm(BoundLayer):
    def __init__(self, layer: BatchNorm, space: Space) -> None:
        runs, channels = space.runs, space.shape[0]
        shape = (space.batch, channels, int(np.prod(space.shape[1:])))
        self.outputs = space.empty(space.shape)
        self._x, self._y = space.inputs.reshape(-1, *shape), self.outputs.reshape(runs, *shape)
        self._parameters, self._gradient = space.parameters, space.gradient
        self._offsets = space.slots["scale"].offset, space.slots["shift"].offset
        self._running = space.state["mean"], space.state["variance"]
        self._momentum, self._epsilon = layer.momentum, layer.epsilon
        self._training = space.training
        # Sums in float64 in both precisions: over thousands of positions, float32 loses digits.
        self._mean = space.array(runs, channels, dtype=np.float64)
        self._variance = space.array(runs, channels, dtype=np.float64)
        self._sums = space.array(2, channels, dtype=np.float64)
        self._dx = None
        if space.training:
            self.output_derivative = space.empty(space.shape)
            self._dy = self.output_derivative.reshape(self._y.shape)
        if space.input_derivative is not None:
            self._dx = space.input_derivative.reshape(self._y.shape)

    def forward(self, step: int) -> None:
        if self._training:
            _moments(self._x, self._mean, self._variance)
        else:
            self._mean[:], self._variance[:] = self._running
        _normalise(self._x, self._mean, self._variance, self._epsilon, self._parameters, *self._offsets, self._y)

    def backward(self) -> None:
        dx = self._dy if self._dx is None else self._dx
        _derivatives(
            self._x, self._mean, self._variance, self._epsilon,
            self._parameters, self._gradient, *self._offsets, self._dy, dx, self._sums,
        )  # fmt: skip

    def settle(self, active: NDArray[np.bool_]) -> None:
        positions = self._x.shape[1] * self._x.shape[3]
        unbiased = positions / (positions - 1) if positions > 1 else 1.0
        _blend(active, self._momentum, unbiased, self._mean, self._variance, *self._running)


@kernel
def _moments(x: Any, mean: Any, variance: Any) -> None:
    """Mean and variance (R, C) of x (R or 1, B, C, positions), in two passes."""
    _, batch, channels, positions = x.shape
    count = batch * positions
    for r in range(len(mean)):
        x_r, m, v = x[r if len(x) > 1 else 0], mean[r], variance[r]
        m[:] = 0
        v[:] = 0
        for b in range(batch):
            for c in range(channels):
                for n in range(positions):
                    m[c] += x_r[b, c, n]
        for c in range(channels):
            m[c] /= count
        for b in range(batch):
            for c in range(channels):
                for n in range(positions):
                    away = x_r[b, c, n] - m[c]
                    v[c] += away * away
        for c in range(channels):
            v[c] /= count


@kernel
def _normalise(
    x: Any, mean: Any, variance: Any, epsilon: float, parameters: Any, scale: int, shift: int, y: Any
) -> None:
    runs, batch, channels, positions = y.shape
    for r in range(runs):
        x_r, row = x[r if len(x) > 1 else 0], parameters[r]
        for c in range(channels):
            slope = row[scale + c] / sqrt(variance[r, c] + epsilon)
            level = row[shift + c]
            for b in range(batch):
                for n in range(positions):
                    y[r, b, c, n] = (x_r[b, c, n] - mean[r, c]) * slope + level


@kernel
def _derivatives(
    x: Any, mean: Any, variance: Any, epsilon: float, parameters: Any, gradient: Any, scale: int, shift: int,
    dy: Any, dx: Any, sums: Any,
) -> None:  # fmt: skip
    runs, batch, channels, positions = dy.shape
    count = batch * positions
    for r in range(runs):
        x_r = x[r if len(x) > 1 else 0]
        sums[:] = 0
        for b in range(batch):
            for c in range(channels):
                for n in range(positions):
                    sums[0, c] += dy[r, b, c, n]
                    sums[1, c] += dy[r, b, c, n] * (x_r[b, c, n] - mean[r, c])
        for c in range(channels):
            inverse = 1 / sqrt(variance[r, c] + epsilon)
            gradient[r, shift + c] = sums[0, c]
            gradient[r, scale + c] = sums[1, c] * inverse
            slope = parameters[r, scale + c] * inverse
            level, tilt = sums[0, c] / count, sums[1, c] * inverse * inverse / count
            for b in range(batch):
                for n in range(positions):
                    dx[r, b, c, n] = slope * (dy[r, b, c, n] - level - (x_r[b, c, n] - mean[r, c]) * tilt)


@kernel
def _blend(
    active: Any, momentum: float, unbiased: float, mean: Any, variance: Any, running_mean: Any, running_variance: Any
) -> None:
    for r in range(len(active)):
        if active[r]:
            for c in range(mean.shape[1]):
                running_mean[r, c] = (1 - momentum) * running_mean[r, c] + momentum * mean[r, c]
                spread = unbiased * variance[r, c]
                running_variance[r, c] = (1 - momentum) * running_variance[r, c] + momentum * spread
