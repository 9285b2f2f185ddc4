"""Dropout: in training, set random coordinates to 0."""

from dataclasses import dataclass
from typing import Any, ClassVar

from talweg_core.compilation import kernel
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space
from talweg_core.layers.reshaping import BoundView
from talweg_core.randomness import keys, uniform


@dataclass(frozen=True)
class Dropout(Layer):
    """y = m x / (1 − rate), m = 0 with probability `rate`, else 1; ∂C/∂x = ∂C/∂y m / (1 − rate).

    m of step t depends on (seed, "noise", t) alone, so that a step computed again has the same m. In evaluation y = x.
    Source: Srivastava et al. 2014, section 10, scaled in training ("inverted").
    """

    rate: float = 0.5
    kind: ClassVar[str] = "dropout"

    def __post_init__(self) -> None:
        """Check the rate."""
        self.require_number("rate", self.rate, 0, 1)

    def output(self, shape: Shape) -> Shape:
        """The same shape."""
        return shape

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return _BoundDropout(self, space) if space.training else BoundView(space.shape, space)


class _BoundDropout(BoundLayer):
    def __init__(self, layer: Dropout, space: Space) -> None:
        self.outputs = space.empty(space.shape)
        self._y = self.outputs.reshape(space.runs, -1)
        self._x = space.inputs.reshape(len(space.inputs), -1)
        self._keys = keys(space.seeds, space.path)
        self._mask = space.array(*self._y.shape)
        self._rate, self._scale = space.number(layer.rate, 1 / (1 - layer.rate))
        self._dx = None
        if space.input_derivative is not None:
            self._dx = space.input_derivative.reshape(self._y.shape)
            self.output_derivative = space.empty(space.shape)
            self._dy = self.output_derivative.reshape(self._y.shape)

    def forward(self, step: int) -> None:
        uniform(self._keys, step, self._mask)
        _drop(self._x, self._mask, self._y, self._rate, self._scale)

    def backward(self) -> None:
        if self._dx is not None:
            _times(self._dy, self._mask, self._dx)


@kernel
def _drop(x: Any, mask: Any, y: Any, rate: Any, scale: Any) -> None:
    """In place, mask (R, N) of uniform numbers becomes 0 or `scale`; y = mask x, which is NaN for NaN."""
    for r in range(len(y)):
        row, m, out = x[r if len(x) > 1 else 0], mask[r], y[r]
        for i in range(out.size):
            m[i] = scale * (m[i] >= rate)
            out[i] = m[i] * row[i]


@kernel
def _times(dy: Any, mask: Any, dx: Any) -> None:
    for r in range(len(dy)):
        d, m, out = dy[r], mask[r], dx[r]
        for i in range(out.size):
            out[i] = d[i] * m[i]
