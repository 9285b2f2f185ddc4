"""A scalar function as a layer of its own."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.activations import activation as named_activation
from talweg_core.compilation import Kernel, specialise
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space


@dataclass(frozen=True)
class ActivationLayer(Layer):
    """y = f(x), coordinate by coordinate; ∂C/∂x = ∂C/∂y f′(x)."""

    activation: str
    kind: ClassVar[str] = "activation"

    def __post_init__(self) -> None:
        """Check the name."""
        named_activation(self.activation)

    def output(self, shape: Shape) -> Shape:
        """The same shape."""
        return shape

    def bind(self, space: Space) -> BoundLayer:
        """On buffers."""
        return _BoundActivation(self, space)


class _BoundActivation(BoundLayer):
    def __init__(self, layer: ActivationLayer, space: Space) -> None:
        activation = named_activation(layer.activation)
        self.outputs = space.empty(space.shape)
        self._inputs = np.broadcast_to(space.inputs, self.outputs.shape)
        self._y = self.outputs.reshape(-1)
        dtype = space.parameters.dtype
        self._constants = tuple(dtype.type(value) for value in activation.constants)
        self._value, self._slope = _kernels(layer.activation)
        self._dx = None if space.input_derivative is None else space.input_derivative.reshape(-1)
        if space.training:
            self.output_derivative = np.empty_like(self.outputs)
            self._dy = self.output_derivative.reshape(-1)

    def forward(self, step: int) -> None:
        self._x = np.ascontiguousarray(self._inputs).reshape(-1)
        self._value(self._x, self._y, self._constants)

    def backward(self) -> None:
        if self._dx is not None:
            self._slope(self._x, self._y, self._dy, self._dx, self._constants)


_COMPILED: dict[str, tuple[Kernel, Kernel]] = {}


def _kernels(name: str) -> tuple[Kernel, Kernel]:
    if name not in _COMPILED:
        activation = named_activation(name)
        _COMPILED[name] = (
            specialise(_forward, value=activation.value),
            specialise(_backward, derivative=activation.derivative),
        )
    return _COMPILED[name]


def value(*_: Any) -> Any:
    """Stand for the activation that `specialise` puts here."""


def derivative(*_: Any) -> Any:
    """Stand for the activation's derivative that `specialise` puts here."""


def _forward(x: Any, y: Any, constants: Any) -> None:
    """Write y = f(x), both (N,)."""
    for i in range(x.size):
        y[i] = value(x[i], *constants)


def _backward(x: Any, y: Any, dy: Any, dx: Any, constants: Any) -> None:
    """Write ∂C/∂x = ∂C/∂y f′(x), all (N,)."""
    for i in range(x.size):
        dx[i] = dy[i] * derivative(x[i], y[i], *constants)
