"""The embedding: a table of vectors indexed by the input; with positions, the first layer of a language model."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.compilation import kernel
from talweg_core.errors import InvalidNetwork
from talweg_core.initial import Initial
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space
from talweg_core.layout import Array


@dataclass(frozen=True)
class Embedding(Layer):
    """y[t] = E[x[t]] + P[t], x whole numbers in [0, vocabulary), E (vocabulary, units), P (T, units) if `positions`.

    ∂C/∂E[v] = Σ of ∂C/∂y[t] where x[t] = v; ∂C/∂P[t] = Σ of ∂C/∂y[t] over the batch.
    Sources: Bengio et al. 2003 (table), Radford et al. 2018 (learned positions, and the initial distribution of both).
    """

    vocabulary: int
    units: int
    positions: bool = False
    initial: str = "normal"
    first: ClassVar[bool] = True
    kind: ClassVar[str] = "embedding"

    def __post_init__(self) -> None:
        """Check the settings that do not depend on the input shape."""
        # float32 holds whole numbers exactly up to 2^24.
        self.require("vocabulary", self.vocabulary, 1, 2**24)
        self.require("units", self.units, 1)

    def output(self, shape: Shape) -> Shape:
        """(T,) becomes (T, units)."""
        if len(shape) != 1:
            raise self.needs("(length,)", shape)
        return (*shape, self.units)

    def tensors(self, shape: Shape) -> dict[str, Initial]:
        """weight (vocabulary, units), and position (T, units)."""
        weight = Initial((self.vocabulary, self.units), self.initial, self.vocabulary, self.units)
        position = Initial((shape[0], self.units), self.initial, shape[0], self.units)
        return {"weight": weight} | ({"position": position} if self.positions else {})

    def check(self, inputs: Array) -> None:
        """Check that every input is an index of the table; raises InvalidNetwork."""
        inside = (inputs >= 0) & (inputs < self.vocabulary) & (inputs == np.floor(inputs))
        if not inside.all():
            raise InvalidNetwork(
                f"embedding: the inputs must be whole numbers in [0, {self.vocabulary}), got {inputs[~inside][0]:g}"
            )

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return _BoundEmbedding(self, space)


class _BoundEmbedding(BoundLayer):
    def __init__(self, layer: Embedding, space: Space) -> None:
        self.outputs = space.empty(layer.output(space.shape))
        self._x, self._parameters, self._gradient = space.inputs, space.parameters, space.gradient
        self._vocabulary = layer.vocabulary
        self._weight = space.slots["weight"].offset
        self._position = space.slots["position"].offset if layer.positions else -1
        if space.training:
            self.output_derivative = space.empty(layer.output(space.shape))

    def forward(self, step: int) -> None:
        _look_up(self._x, self._parameters, self._weight, self._position, self.outputs)

    def backward(self) -> None:
        assert self.output_derivative is not None
        _add_up(
            self._x, self.output_derivative, self._gradient, self._weight, self._position, self._vocabulary
        )  # fmt: skip


@kernel
def _look_up(x: Any, parameters: Any, weight: int, position: int, y: Any) -> None:
    runs, batch, length, units = y.shape
    for r in range(runs):
        row, x_r = parameters[r], x[r if len(x) > 1 else 0]
        for b in range(batch):
            for t in range(length):
                start, out = weight + int(x_r[b, t]) * units, y[r, b, t]
                for u in range(units):
                    out[u] = row[start + u]
                if position >= 0:
                    for u in range(units):
                        out[u] += row[position + t * units + u]


@kernel
def _add_up(x: Any, dy: Any, gradient: Any, weight: int, position: int, vocabulary: int) -> None:
    runs, batch, length, units = dy.shape
    for r in range(runs):
        row, x_r = gradient[r], x[r if len(x) > 1 else 0]
        row[weight : weight + vocabulary * units] = 0
        if position >= 0:
            row[position : position + length * units] = 0
        for b in range(batch):
            for t in range(length):
                start, d = weight + int(x_r[b, t]) * units, dy[r, b, t]
                for u in range(units):
                    row[start + u] += d[u]
                if position >= 0:
                    for u in range(units):
                        row[position + t * units + u] += d[u]
