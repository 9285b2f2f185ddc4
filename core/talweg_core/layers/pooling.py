"""Maximum and mean over windows of height and width.

Source: LeCun et al. 1990 (mean), Ranzato et al. 2007 (maximum).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.compilation import kernel
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space


@dataclass(frozen=True)
class _Pool(Layer):
    """Windows of size × size at every `stride` positions (0: `size`); the rest is not used."""

    size: int = 2
    stride: int = 0

    def __post_init__(self) -> None:
        """Check the settings that do not depend on the input shape."""
        self.require("size", self.size, 1)
        self.require("stride", self.stride, 0)

    @property
    def spacing(self) -> int:
        """Positions from one window to the next."""
        return self.stride or self.size

    def output(self, shape: Shape) -> Shape:
        """(C, H, W) becomes (C, ⌊(H − size) / stride⌋ + 1, likewise W)."""
        if len(shape) != 3:
            raise self.needs("(channels, height, width)", shape)
        if min(shape[1:]) < self.size:
            raise self.needs(f"at least {self.size} high and wide", shape)
        return (shape[0], *((n - self.size) // self.spacing + 1 for n in shape[1:]))


@dataclass(frozen=True)
class MaxPool(_Pool):
    """y = the largest x of the window; ∂C/∂y goes to that x alone, the first where several are equal."""

    kind: ClassVar[str] = "max_pool"

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return _BoundMaxPool(self, space)


@dataclass(frozen=True)
class AveragePool(_Pool):
    """y = the mean x of the window; each of its x gets ∂C/∂y / size²."""

    kind: ClassVar[str] = "average_pool"

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return _BoundAveragePool(self, space)


class _BoundPool(BoundLayer):
    def __init__(self, layer: _Pool, space: Space) -> None:
        shape = layer.output(space.shape)
        self.outputs = space.empty(shape)
        self._x = _images(space.inputs)
        self._y = _images(self.outputs)
        self._window = layer.size, layer.spacing
        self._dx = None
        if space.input_derivative is not None:
            self._dx = _images(space.input_derivative)
            self.output_derivative = space.empty(shape)
            self._dy = _images(self.output_derivative)


class _BoundMaxPool(_BoundPool):
    def __init__(self, layer: MaxPool, space: Space) -> None:
        super().__init__(layer, space)
        self._positions = space.array(*self._y.shape, dtype=np.int32)

    def forward(self, step: int) -> None:
        _greatest(self._x, self._y, self._positions, *self._window)

    def backward(self) -> None:
        if self._dx is not None:
            _to_greatest(self._dy, self._positions, self._dx)


class _BoundAveragePool(_BoundPool):
    def forward(self, step: int) -> None:
        _mean(self._x, self._y, *self._window)

    def backward(self) -> None:
        if self._dx is not None:
            _to_all(self._dy, self._dx, *self._window)


def _images(x: Any) -> Any:
    """(R, B, C, H, W) as (R, B C, H, W)."""
    return x.reshape(len(x), -1, *x.shape[3:])


@kernel
def _greatest(x: Any, y: Any, positions: Any, size: int, spacing: int) -> None:
    runs, images, high, wide = y.shape
    for r in range(runs):
        for n in range(images):
            image = x[r if len(x) > 1 else 0, n]
            for h in range(high):
                for w in range(wide):
                    top, left = h * spacing, w * spacing
                    best, position = image[top, left], top * image.shape[1] + left
                    for i in range(top, top + size):
                        for j in range(left, left + size):
                            # NaN is taken, and nothing is greater than NaN: divergence is detected.
                            if image[i, j] > best or image[i, j] != image[i, j]:
                                best, position = image[i, j], i * image.shape[1] + j
                    y[r, n, h, w], positions[r, n, h, w] = best, position


@kernel
def _to_greatest(dy: Any, positions: Any, dx: Any) -> None:
    runs, images, high, wide = dy.shape
    dx[:] = 0
    for r in range(runs):
        for n in range(images):
            flat = dx[r, n].reshape(-1)
            for h in range(high):
                for w in range(wide):
                    flat[positions[r, n, h, w]] += dy[r, n, h, w]


@kernel
def _mean(x: Any, y: Any, size: int, spacing: int) -> None:
    runs, images, high, wide = y.shape
    for r in range(runs):
        for n in range(images):
            image = x[r if len(x) > 1 else 0, n]
            for h in range(high):
                for w in range(wide):
                    total = 0.0
                    for i in range(h * spacing, h * spacing + size):
                        for j in range(w * spacing, w * spacing + size):
                            total += image[i, j]
                    y[r, n, h, w] = total / (size * size)


@kernel
def _to_all(dy: Any, dx: Any, size: int, spacing: int) -> None:
    runs, images, high, wide = dy.shape
    dx[:] = 0
    for r in range(runs):
        for n in range(images):
            image = dx[r, n]
            for h in range(high):
                for w in range(wide):
                    share = dy[r, n, h, w] / (size * size)
                    for i in range(h * spacing, h * spacing + size):
                        for j in range(w * spacing, w * spacing + size):
                            image[i, j] += share
