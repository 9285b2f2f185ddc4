"""The activation layer: a scalar function of each coordinate."""

from dataclasses import dataclass
from typing import Any, ClassVar

from talweg_core.activations import activation as named_activation
from talweg_core.compilation import specialise
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
        """Bind to buffers."""
        return _BoundActivation(self, space)


class _BoundActivation(BoundLayer):
    def __init__(self, layer: ActivationLayer, space: Space) -> None:
        activation = named_activation(layer.activation)
        self.outputs = space.empty(space.shape)
        self._x, self._y = space.inputs.reshape(len(space.inputs), -1), self.outputs.reshape(space.runs, -1)
        self._constants = space.number(*activation.constants)
        self._value = specialise(_forward, value=activation.value)
        self._slope = specialise(_backward, derivative=activation.derivative)
        self._dx = None if space.input_derivative is None else space.input_derivative.reshape(self._y.shape)
        if self._dx is not None:
            self.output_derivative = space.empty(space.shape)
            self._dy = self.output_derivative.reshape(self._y.shape)

    def forward(self, step: int) -> None:
        self._value(self._x, self._y, self._constants)

    def backward(self) -> None:
        if self._dx is not None:
            self._slope(self._x, self._y, self._dy, self._dx, self._constants)


def value(*_: Any) -> Any:
    """A name for the linter: `specialise` binds it to the activation."""


def derivative(*_: Any) -> Any:
    """A name for the linter: `specialise` binds it to the activation's derivative."""


def _forward(x: Any, y: Any, constants: Any) -> None:
    """Write y = f(x), y (R, N), x (R or 1, N)."""
    for r in range(len(y)):
        row, out = x[r if len(x) > 1 else 0], y[r]
        for i in range(out.size):
            out[i] = value(row[i], *constants)


def _backward(x: Any, y: Any, dy: Any, dx: Any, constants: Any) -> None:
    """Write ∂C/∂x = ∂C/∂y f′(x), all (R, N)."""
    for r in range(len(y)):
        row, out, slope, d = x[r], y[r], dy[r], dx[r]
        for i in range(out.size):
            d[i] = slope[i] * derivative(row[i], out[i], *constants)
