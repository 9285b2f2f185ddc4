"""The residual layer: the input plus the output of the layers inside."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from talweg_core.errors import InvalidNetwork
from talweg_core.initial import Initial
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space
from talweg_core.layers.stack import Stack, fused


@dataclass(frozen=True)
class Residual(Layer):
    """y = x + F(x), F the layers inside; ∂C/∂x = ∂C/∂y + ∂C/∂x through F.

    Source: He, Zhang, Ren & Sun 2016, "Deep residual learning for image recognition", equation 1.
    """

    layers: tuple[Layer, ...]
    kind: ClassVar[str] = "residual"

    def __post_init__(self) -> None:
        """Check that there is a layer inside."""
        if not self.layers:
            raise InvalidNetwork("residual: must have at least one layer inside, got []")

    def output(self, shape: Shape) -> Shape:
        """The same shape; the layers inside must not change it."""
        made = Stack(self.layers, shape).shapes[-1]
        if made != shape:
            raise InvalidNetwork(f"residual: the layers inside must keep the shape {shape}, got {made}")
        return shape

    def tensors(self, shape: Shape) -> dict[str, Initial]:
        """The tensors of the layers inside."""
        return self._stack(shape).tensors

    def state(self, shape: Shape) -> dict[str, Initial]:
        """The state of the layers inside."""
        return self._stack(shape).state

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return _BoundResidual(self._stack(space.shape), space)

    def _stack(self, shape: Shape) -> Stack:
        return Stack(fused(self.layers), shape)


class _BoundResidual(BoundLayer):
    def __init__(self, stack: Stack, space: Space) -> None:
        self._inputs, self._dx = space.inputs, space.input_derivative
        # F writes its ∂C/∂x to the buffer of the sum.
        self._inside = stack.bind(space)
        self.outputs = space.empty(space.shape)
        if space.training:
            self.output_derivative = space.empty(space.shape)
        costs = self._inside.costs
        self.cost = np.zeros(space.runs) if costs else None

    def forward(self, step: int) -> None:
        self._inside.forward(step)
        np.add(self._inputs, self._inside.outputs, out=self.outputs)
        if self.cost is not None:
            self.cost[:] = 0
            for added in self._inside.costs:
                self.cost += added

    def backward(self) -> None:
        assert self.output_derivative is not None
        if self._inside.output_derivative is not None:
            np.copyto(self._inside.output_derivative, self.output_derivative)
        self._inside.backward()
        if self._dx is not None:
            np.add(self._dx, self.output_derivative, out=self._dx)

    def settle(self, active: NDArray[np.bool_]) -> None:
        self._inside.settle(active)
