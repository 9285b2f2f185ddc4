"""Causal self-attention with several heads: each position attends to itself and to the positions before it."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from talweg_core.compilation import kernel
from talweg_core.errors import InvalidNetwork
from talweg_core.initial import Initial
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space


@dataclass(frozen=True)
class SelfAttention(Layer):
    """Of x (T, d): (Q, K, V) = x W in h heads of d / h, S = Q Kᵀ / √(d / h), A = softmax of S up to t, y = (A V) W_o.

    W (d, 3 d) holds the columns of Q, K and V one after another, W_o is (d, d); without biases.
    With δ = ∂C/∂y and H = A V: ∂C/∂W_o = Hᵀ δ, ∂H = δ W_oᵀ; ∂V = Aᵀ ∂H, ∂A = ∂H Vᵀ; ∂S = A ⊙ (∂A − Σ A ⊙ ∂A) for each
    row; ∂Q = ∂S K / √(d / h), ∂K = ∂Sᵀ Q / √(d / h); ∂C/∂W = xᵀ (∂Q, ∂K, ∂V), ∂C/∂x = (∂Q, ∂K, ∂V) Wᵀ.
    Source: Vaswani et al. 2017, "Attention is all you need", sections 3.2.1 to 3.2.3.
    """

    heads: int = 1
    initial: str = "glorot"
    kind: ClassVar[str] = "self_attention"

    def __post_init__(self) -> None:
        """Check the settings that do not depend on the input shape."""
        self.require("heads", self.heads, 1)

    def output(self, shape: Shape) -> Shape:
        """The same shape, (T, d)."""
        if len(shape) != 2:
            raise self.needs("(length, units)", shape)
        if shape[1] % self.heads:
            raise InvalidNetwork(f"self_attention: heads must divide the {shape[1]} units, got {self.heads}")
        return shape

    def tensors(self, shape: Shape) -> dict[str, Initial]:
        """weight (d, 3 d) and output (d, d)."""
        d = shape[1]
        return {"weight": Initial((d, 3 * d), self.initial, d, d), "output": Initial((d, d), self.initial, d, d)}

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return _BoundSelfAttention(self, space)


class _BoundSelfAttention(BoundLayer):
    def __init__(self, layer: SelfAttention, space: Space) -> None:
        length, d = space.shape
        rows, size = space.batch * length, d // layer.heads
        self._scale = space.number(1 / sqrt(size))[0]
        self._weight, self._mix = space.slots["weight"], space.slots["output"]
        self._x = space.inputs.reshape(-1, rows, d)
        self.outputs = space.empty((length, d))
        self._y = self.outputs.reshape(space.runs, rows, d)

        def heads(flat: Any, part: int) -> Any:
            """(R, B, h, T, d / h) of one third of (R, B T, 3 d), a view."""
            parts = flat.reshape(space.runs, space.batch, length, -1, layer.heads, size)
            return parts[:, :, :, part].swapaxes(2, 3)

        self._parts = space.array(space.runs, rows, 3 * d)
        self._q, self._k, self._v = (heads(self._parts, part) for part in range(3))
        self._attention = space.array(space.runs, space.batch, layer.heads, length, length)
        self._joined = space.array(space.runs, rows, d)
        self._h = heads(self._joined, 0)
        self._dx = None
        if space.training:
            self.output_derivative = space.empty((length, d))
            self._dy = self.output_derivative.reshape(self._y.shape)
            self._parts_derivative = space.array(*self._parts.shape)
            self._dq, self._dk, self._dv = (heads(self._parts_derivative, part) for part in range(3))
            self._slopes = space.array(*self._attention.shape)
            self._joined_derivative = space.array(*self._joined.shape)
            self._dh = heads(self._joined_derivative, 0)
        if space.input_derivative is not None:
            self._dx = space.input_derivative.reshape(self._y.shape)

    def forward(self, step: int) -> None:
        a = self._attention
        np.matmul(self._x, self._weight.value, out=self._parts)
        np.matmul(self._q, self._k.swapaxes(3, 4), out=a)
        _shift(a, self._scale)
        # NumPy's exp is vectorised; Numba's is one call for each number.
        np.exp(a, out=a)
        _normalise(a)
        np.matmul(a, self._v, out=self._h)
        np.matmul(self._joined, self._mix.value, out=self._y)

    def backward(self) -> None:
        a, slopes = self._attention, self._slopes
        np.matmul(self._joined.swapaxes(1, 2), self._dy, out=self._mix.gradient)
        np.matmul(self._dy, self._mix.value.swapaxes(1, 2), out=self._joined_derivative)
        np.matmul(a.swapaxes(3, 4), self._dh, out=self._dv)
        np.matmul(self._dh, self._v.swapaxes(3, 4), out=slopes)
        _slopes_of_softmax(a, slopes, self._scale)
        np.matmul(slopes, self._k, out=self._dq)
        np.matmul(slopes.swapaxes(3, 4), self._q, out=self._dk)
        np.matmul(self._x.swapaxes(1, 2), self._parts_derivative, out=self._weight.gradient)
        if self._dx is not None:
            np.matmul(self._parts_derivative, self._weight.value.swapaxes(1, 2), out=self._dx)


@kernel
def _shift(scores: Any, scale: Any) -> None:
    """In place: scaled scores minus the largest of the row; minus infinity after the row's own position."""
    length = scores.shape[4]
    rows = scores.reshape(-1, length, length)
    for n in range(len(rows)):
        for t in range(length):
            row = rows[n, t]
            greatest = row[0]
            for s in range(1, t + 1):
                # NaN is kept. It fails every comparison, so it is tested for.
                if row[s] > greatest or row[s] != row[s]:
                    greatest = row[s]
            for s in range(t + 1):
                row[s] = scale * (row[s] - greatest)
            row[t + 1 :] = -np.inf


@kernel
def _normalise(weights: Any) -> None:
    """In place: divide each row by its sum."""
    length = weights.shape[4]
    rows = weights.reshape(-1, length, length)
    for n in range(len(rows)):
        for t in range(length):
            row = rows[n, t]
            total = row[0]
            for s in range(1, t + 1):
                total += row[s]
            for s in range(t + 1):
                row[s] /= total


@kernel
def _slopes_of_softmax(weights: Any, slopes: Any, scale: Any) -> None:
    """In place, ∂A becomes ∂S: scale · A ⊙ (∂A − Σ A ⊙ ∂A), 0 after the row's own position."""
    length = weights.shape[4]
    a, d = weights.reshape(-1, length, length), slopes.reshape(-1, length, length)
    for n in range(len(a)):
        for t in range(length):
            row, slope = a[n, t], d[n, t]
            total = row[0] * slope[0]
            for s in range(1, t + 1):
                total += row[s] * slope[s]
            for s in range(t + 1):
                slope[s] = scale * row[s] * (slope[s] - total)
            slope[t + 1 :] = 0
