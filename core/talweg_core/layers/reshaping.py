"""Flatten and reshape: views of the input, without a copy."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from talweg_core.errors import InvalidNetwork
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space


@dataclass(frozen=True)
class Flatten(Layer):
    """y = x in one dimension; the derivative is the same in x's shape."""

    kind: ClassVar[str] = "flatten"

    def output(self, shape: Shape) -> Shape:
        """(…) becomes (product,)."""
        return (math.prod(shape),)

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return BoundView(self.output(space.shape), space)


@dataclass(frozen=True)
class Reshape(Layer):
    """y = x in another shape of the same size; the derivative is the same in x's shape."""

    shape: tuple[int, ...]
    kind: ClassVar[str] = "reshape"

    def __post_init__(self) -> None:
        """Check the settings that do not depend on the input shape."""
        if not isinstance(self.shape, list | tuple):
            raise InvalidNetwork(f"reshape: shape must be a list of integers, got {self.shape!r}")
        for size in self.shape:
            self.require("shape's entry", size, 1)
        object.__setattr__(self, "shape", tuple(self.shape))

    def output(self, shape: Shape) -> Shape:
        """`shape` of the settings."""
        if math.prod(shape) != math.prod(self.shape):
            raise self.needs(f"of {math.prod(self.shape)} numbers, to be reshaped to {self.shape}", shape)
        return self.shape

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return BoundView(self.shape, space)


class BoundView(BoundLayer):
    """The inputs themselves, in another shape."""

    def __init__(self, shape: Shape, space: Space) -> None:
        """Outputs of this shape."""
        self.outputs = _viewed(space.inputs, shape)
        if space.input_derivative is not None:
            self.output_derivative = _viewed(space.input_derivative, shape)

    def forward(self, step: int) -> None:
        """Nothing to compute."""

    def backward(self) -> None:
        """Nothing to compute."""


def _viewed(buffer: Any, shape: Shape) -> Any:
    return buffer.reshape(*buffer.shape[:2], *shape)
