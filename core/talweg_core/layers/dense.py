"""The fully connected layer, fused with the activation that follows it."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from talweg_core.activations import activation as named_activation
from talweg_core.compilation import ready, specialise
from talweg_core.initial import Initial, weight_initial
from talweg_core.layers.activation import ActivationLayer, derivative, value
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space
from talweg_core.matrix_products import address, multiply, multiply_left_transposed, multiply_right_transposed


@dataclass(frozen=True)
class Dense(Layer):
    """y = f(x W + b), for x (…, in), W (in, units), b (units).

    With z = x W + b and δ = ∂C/∂y ⊙ f′(z): ∂C/∂W = xᵀ δ, ∂C/∂b = Σ δ over the batch, ∂C/∂x = δ Wᵀ.
    W is drawn by `initial` ("auto": He before a relu, else Glorot), b starts at 0.
    """

    units: int
    bias: bool = True
    initial: str = "auto"
    activation: str = "identity"
    kind: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        """Check the settings that do not depend on the input shape."""
        self.require("units", self.units, 1)
        named_activation(self.activation)

    def output(self, shape: Shape) -> Shape:
        """(…, in) becomes (…, units)."""
        if not shape:
            raise self.needs("of at least one dimension", shape)
        return (*shape[:-1], self.units)

    def tensors(self, shape: Shape) -> dict[str, Initial]:
        """weight (in, units) and bias (units)."""
        initial = weight_initial(self.initial, self.activation)
        weight = Initial((shape[-1], self.units), initial, shape[-1], self.units)
        return {"weight": weight} | ({"bias": Initial((self.units,))} if self.bias else {})

    def absorb(self, following: Layer) -> Layer | None:
        """Fuse with an activation that follows."""
        if isinstance(following, ActivationLayer) and self.activation == "identity":
            return replace(self, activation=following.activation)
        return None

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return _BoundDense(self, space)


class _BoundDense(BoundLayer):
    def __init__(self, layer: Dense, space: Space) -> None:
        rows = space.batch * math.prod(space.shape[:-1])
        width, units = space.shape[-1], layer.units
        self.outputs = space.empty(layer.output(space.shape))
        self._inputs = space.inputs.reshape(-1, rows, width)
        self._y = self.outputs.reshape(space.runs, rows, units)
        self._weight = space.slots["weight"]
        # 0 where kernels cannot compute the products: np.matmul then computes them before or after the kernels.
        gemm = self._gemm = address(space.dtype, rows, width, units)
        bias = space.slots["bias"].offset if layer.bias else -1
        activation = named_activation(layer.activation)
        constants = space.number(*activation.constants)
        forward = _bias_then_value if activation.needs_input else _bias_and_value
        backward = specialise(_slope_and_bias, derivative=activation.derivative)
        # y overwrites z, unless the derivative needs z.
        z = space.array(*self._y.shape) if activation.needs_input else self._y
        self._z = z
        outputs = (z, self._y) if activation.needs_input else (z,)
        where = self._weight.offset, bias, constants
        self._value = ready(
            specialise(forward, value=activation.value), gemm, self._inputs, *outputs, space.parameters, *where
        )
        if not space.training:
            return
        self.output_derivative = space.empty(layer.output(space.shape))
        self._dz = self.output_derivative.reshape(self._y.shape)
        self._inputs_t = self._inputs.swapaxes(1, 2)
        self._weight_t = self._weight.value.swapaxes(1, 2)
        self._needs_dx = space.input_derivative is not None
        self._dx = space.array(0, rows, width)
        if space.input_derivative is not None:
            self._dx = space.input_derivative.reshape(space.runs, rows, width)
        self._slope = ready(
            backward, gemm, self._inputs, z, self._y, self._dz, self._dx, space.parameters, space.gradient, *where
        )

    def forward(self, step: int) -> None:
        if not self._gemm:
            np.matmul(self._inputs, self._weight.value, out=self._z)
        self._value()

    def backward(self) -> None:
        self._slope()
        if not self._gemm:
            np.matmul(self._inputs_t, self._dz, out=self._weight.gradient)
            if self._needs_dx:
                np.matmul(self._dz, self._weight_t, out=self._dx)


def _bias_and_value(gemm: int, x: Any, z: Any, parameters: Any, weight: int, bias: int, constants: Any) -> None:
    """In place, z (R, N, U) becomes f(x W + b), x (R or 1, N, I); if gemm = 0, z must already hold x W.

    W is at the offset `weight` in each row of parameters, b at `bias`; −1 if there is no bias.
    """
    runs, rows, units = z.shape
    for r in range(runs):
        if gemm:
            multiply(gemm, rows, x.shape[2], units, x[r if len(x) > 1 else 0], parameters[r][weight:], z[r])
        if bias >= 0:
            b = parameters[r][bias : bias + units]
            for n in range(rows):
                row = z[r, n]
                for u in range(units):
                    row[u] = value(row[u] + b[u], *constants)
        else:
            for n in range(rows):
                row = z[r, n]
                for u in range(units):
                    row[u] = value(row[u], *constants)


def _bias_then_value(
    gemm: int, x: Any, z: Any, y: Any, parameters: Any, weight: int, bias: int, constants: Any
) -> None:
    """In place, z (R, N, U) becomes x W + b, and y becomes f(z); if gemm = 0, z must already hold x W."""
    runs, rows, units = z.shape
    for r in range(runs):
        if gemm:
            multiply(gemm, rows, x.shape[2], units, x[r if len(x) > 1 else 0], parameters[r][weight:], z[r])
        for n in range(rows):
            row, out = z[r, n], y[r, n]
            if bias >= 0:
                b = parameters[r][bias : bias + units]
                for u in range(units):
                    row[u] += b[u]
            for u in range(units):
                out[u] = value(row[u], *constants)


def _slope_and_bias(
    gemm: int,
    x: Any,
    z: Any,
    y: Any,
    dy: Any,
    dx: Any,
    parameters: Any,
    gradient: Any,
    weight: int,
    bias: int,
    constants: Any,
) -> None:
    """In place, dy (R, N, U) becomes ∂C/∂z; its sum over N, the bias gradient, is written at `bias` of each row.

    Unless gemm = 0, also write the weight gradient xᵀ ∂C/∂z at `weight`, and ∂C/∂x to dx (R or 0, N, I).
    """
    runs, rows, units = y.shape
    for r in range(runs):
        for n in range(rows):
            a, out, d = z[r, n], y[r, n], dy[r, n]
            for u in range(units):
                d[u] *= derivative(a[u], out[u], *constants)
        if bias >= 0:
            total = gradient[r][bias : bias + units]
            total[:] = 0
            for n in range(rows):
                d = dy[r, n]
                for u in range(units):
                    total[u] += d[u]
        if gemm:
            width = x.shape[2]
            x_r = x[r if len(x) > 1 else 0]
            multiply_left_transposed(gemm, width, rows, units, x_r, dy[r], gradient[r][weight:])
            if len(dx) > 0:
                multiply_right_transposed(gemm, rows, units, width, dy[r], parameters[r][weight:], dx[r])
