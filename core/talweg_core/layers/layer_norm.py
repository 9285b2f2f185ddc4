"""Layer normalisation: each example's last axis scaled to mean 0 and variance 1, then scaled and shifted."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

from talweg_core.compilation import kernel
from talweg_core.initial import Initial
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space


@dataclass(frozen=True)
class LayerNorm(Layer):
    """y = γ x̂ + β, x̂ = (x − μ) / √(σ² + ε); μ and σ² over the last axis, d numbers.

    ∂C/∂β = Σ δ and ∂C/∂γ = Σ δ x̂ over all examples and positions; with e = δ γ,
    ∂C/∂x = (e − mean e − x̂ mean(e x̂)) / √(σ² + ε). Source: Ba, Kiros & Hinton 2016, equation 4.
    """

    epsilon: float = 1e-5
    kind: ClassVar[str] = "layer_norm"

    def __post_init__(self) -> None:
        """Check the setting."""
        self.require_number("epsilon", self.epsilon, 0, 1)

    def output(self, shape: Shape) -> Shape:
        """The same shape."""
        if not shape:
            raise self.needs("of at least one dimension", shape)
        return shape

    def tensors(self, shape: Shape) -> dict[str, Initial]:
        """scale γ and shift β, each (d,)."""
        return {"scale": Initial(shape[-1:], "ones"), "shift": Initial(shape[-1:])}

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return _BoundLayerNorm(self, space)


class _BoundLayerNorm(BoundLayer):
    def __init__(self, layer: LayerNorm, space: Space) -> None:
        width = space.shape[-1]
        self.outputs = space.empty(space.shape)
        self._y = self.outputs.reshape(space.runs, -1, width)
        self._x = space.inputs.reshape(len(space.inputs), -1, width)
        # x̂, and 1 / √(σ² + ε).
        self._normal = space.array(*self._y.shape)
        self._inverse = space.array(*self._y.shape[:2])
        self._parameters, self._gradient = space.parameters, space.gradient
        self._offsets = space.slots["scale"].offset, space.slots["shift"].offset
        self._epsilon = layer.epsilon
        if space.training:
            self.output_derivative = space.empty(space.shape)
            self._dy = self.output_derivative.reshape(self._y.shape)
            self._dx = self._dy if space.input_derivative is None else space.input_derivative.reshape(self._y.shape)

    def forward(self, step: int) -> None:
        _normalise(
            self._x, self._epsilon, self._parameters, *self._offsets, self._normal, self._inverse, self._y
        )  # fmt: skip

    def backward(self) -> None:
        _derivatives(
            self._normal, self._inverse, self._parameters, self._gradient, *self._offsets, self._dy, self._dx
        )  # fmt: skip


@kernel
def _normalise(
    x: Any, epsilon: float, parameters: Any, scale: int, shift: int, normal: Any, inverse: Any, y: Any
) -> None:
    runs, rows, width = y.shape
    for r in range(runs):
        g, b = parameters[r, scale : scale + width], parameters[r, shift : shift + width]
        x_r = x[r if len(x) > 1 else 0]
        for n in range(rows):
            row, hat, out = x_r[n], normal[r, n], y[r, n]
            mean = 0.0
            for i in range(width):
                mean += row[i]
            mean /= width
            variance = 0.0
            for i in range(width):
                away = row[i] - mean
                variance += away * away
            scaled = 1 / sqrt(variance / width + epsilon)
            inverse[r, n] = scaled
            for i in range(width):
                hat[i] = (row[i] - mean) * scaled
                out[i] = hat[i] * g[i] + b[i]


@kernel
def _derivatives(
    normal: Any, inverse: Any, parameters: Any, gradient: Any, scale: int, shift: int, dy: Any, dx: Any
) -> None:
    runs, rows, width = dy.shape
    for r in range(runs):
        g = parameters[r, scale : scale + width]
        dg, db = gradient[r, scale : scale + width], gradient[r, shift : shift + width]
        dg[:] = 0
        db[:] = 0
        for n in range(rows):
            hat, d, out = normal[r, n], dy[r, n], dx[r, n]
            level, tilt = 0.0, 0.0
            for i in range(width):
                dg[i] += d[i] * hat[i]
                db[i] += d[i]
                level += d[i] * g[i]
                tilt += d[i] * g[i] * hat[i]
            level /= width
            tilt /= width
            for i in range(width):
                out[i] = (d[i] * g[i] - level - hat[i] * tilt) * inverse[r, n]
