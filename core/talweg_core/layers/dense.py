"""The fully connected layer, with its activation fused into it where one follows."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from talweg_core.activations import Activation
from talweg_core.activations import activation as named_activation
from talweg_core.compilation import Kernel, specialise
from talweg_core.initial import Initial, weight_initial
from talweg_core.layers.activation import ActivationLayer
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space


@dataclass(frozen=True)
class Dense(Layer):
    """y = f(x W + b), for x (…, in), W (in, units), b (units).

    With z = x W + b and δ = ∂C/∂y ⊙ f′(z): ∂C/∂W = xᵀ δ, ∂C/∂b = Σ δ over the batch, ∂C/∂x = δ Wᵀ.
    W begins by `initial` ("auto": He before a relu, else Glorot), b at 0.
    """

    units: int
    bias: bool = True
    initial: str = "auto"
    activation: str = "identity"
    kind: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        """Check what needs no input shape."""
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
        """Take over an activation that follows."""
        if isinstance(following, ActivationLayer) and self.activation == "identity":
            return replace(self, activation=following.activation)
        return None

    def bind(self, space: Space) -> BoundLayer:
        """On buffers."""
        return _BoundDense(self, space)


class _BoundDense(BoundLayer):
    def __init__(self, layer: Dense, space: Space) -> None:
        rows = space.batch * math.prod(space.shape[:-1])
        width, units = space.shape[-1], layer.units
        self.outputs = space.empty(layer.output(space.shape))
        self._inputs = space.inputs.reshape(-1, rows, width)
        self._y = self.outputs.reshape(space.runs, rows, units)
        self._weight = space.slots["weight"]
        self._bias = space.slots["bias"].offset if layer.bias else -1
        self._parameters, self._gradient = space.parameters, space.gradient
        activation = named_activation(layer.activation)
        self._constants = space.number(*activation.constants)
        self._value, self._slope = _kernels(activation)
        # z turns into y in place, unless the derivative is told by z alone.
        self._keeps = activation.needs_input
        self._z = space.array(*self._y.shape) if self._keeps else self._y
        if space.training:
            self.output_derivative = space.empty(layer.output(space.shape))
            self._dz = self.output_derivative.reshape(self._y.shape)
            self._inputs_t = self._inputs.swapaxes(1, 2)
            self._weight_t = self._weight.value.swapaxes(1, 2)
        self._dx = None
        if space.input_derivative is not None:
            self._dx = space.input_derivative.reshape(space.runs, rows, width)

    def forward(self, step: int) -> None:
        np.matmul(self._inputs, self._weight.value, out=self._z)
        if self._keeps:
            self._value(self._z, self._y, self._parameters, self._bias, self._constants)
        else:
            self._value(self._y, self._parameters, self._bias, self._constants)

    def backward(self) -> None:
        self._slope(self._z, self._y, self._dz, self._gradient, self._bias, self._constants)
        np.matmul(self._inputs_t, self._dz, out=self._weight.gradient)
        if self._dx is not None:
            np.matmul(self._dz, self._weight_t, out=self._dx)


_COMPILED: dict[str, tuple[Kernel, Kernel]] = {}


def _kernels(activation: Activation) -> tuple[Kernel, Kernel]:
    if activation.name not in _COMPILED:
        _COMPILED[activation.name] = (
            specialise(_bias_then_value if activation.needs_input else _bias_and_value, value=activation.value),
            specialise(_slope_and_bias, derivative=activation.derivative),
        )
    return _COMPILED[activation.name]


def value(*_: Any) -> Any:
    """Stand for the activation that `specialise` puts here."""


def derivative(*_: Any) -> Any:
    """Stand for the activation's derivative that `specialise` puts here."""


def _bias_and_value(z: Any, parameters: Any, bias: int, constants: Any) -> None:
    """In place, z (R, N, U) becomes f(z + b); b lies at `bias` of each row of parameters, nowhere if −1."""
    runs, rows, units = z.shape
    for r in range(runs):
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


def _bias_then_value(z: Any, y: Any, parameters: Any, bias: int, constants: Any) -> None:
    """In place, z (R, N, U) becomes z + b, and y f(z + b)."""
    runs, rows, units = z.shape
    for r in range(runs):
        for n in range(rows):
            row, out = z[r, n], y[r, n]
            if bias >= 0:
                b = parameters[r][bias : bias + units]
                for u in range(units):
                    row[u] += b[u]
            for u in range(units):
                out[u] = value(row[u], *constants)


def _slope_and_bias(z: Any, y: Any, dy: Any, gradient: Any, bias: int, constants: Any) -> None:
    """In place, dy (R, N, U) becomes ∂C/∂z; its sum over N is the bias gradient, at `bias` of each row."""
    runs, rows, units = y.shape
    for r in range(runs):
        for n in range(rows):
            x, out, d = z[r, n], y[r, n], dy[r, n]
            for u in range(units):
                d[u] *= derivative(x[u], out[u], *constants)
        if bias >= 0:
            total = gradient[r][bias : bias + units]
            total[:] = 0
            for n in range(rows):
                d = dy[r, n]
                for u in range(units):
                    total[u] += d[u]
