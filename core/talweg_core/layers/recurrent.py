"""The simple recurrent layer, and the base of all recurrent layers: backpropagation through time.

Source: Werbos 1990, "Backpropagation through time: what it does and how to do it".
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.compilation import kernel
from talweg_core.initial import Initial
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space
from talweg_core.layout import Array


@dataclass(frozen=True)
class Recurrence(Layer):
    """(T, in) becomes (T, units): h_t from a_t = x_t W + h_{t−1} U + b, h_0 = 0.

    A subclass defines how many numbers a_t holds for each unit (`gates`) and computes h_t from them. With ∂C/∂a_t:
    ∂C/∂W = Σ x_tᵀ ∂a_t, ∂C/∂U = Σ h_{t−1}ᵀ ∂a_t, ∂C/∂b = Σ ∂a_t, ∂C/∂x_t = ∂a_t Wᵀ, and ∂a_t Uᵀ is added to
    ∂C/∂h_{t−1}.
    W is drawn by `initial`, U is orthogonal (Saxe et al. 2014), b starts at 0.
    """

    units: int
    initial: str = "glorot"
    gates: ClassVar[int]

    def __post_init__(self) -> None:
        """Check the settings that do not depend on the input shape."""
        self.require("units", self.units, 1)

    def output(self, shape: Shape) -> Shape:
        """(T, in) becomes (T, units)."""
        if len(shape) != 2:
            raise self.needs("(length, units)", shape)
        return (shape[0], self.units)

    def tensors(self, shape: Shape) -> dict[str, Initial]:
        """weight (in, gates · units), recurrent (units, gates · units) and bias (gates · units)."""
        wide = self.gates * self.units
        return {
            "weight": Initial((shape[1], wide), self.initial, shape[1], self.units),
            "recurrent": Initial((self.units, wide), "orthogonal", self.units, self.units),
            "bias": Initial((wide,)),
        }


class BoundRecurrence(BoundLayer):
    """Times in sequence; a subclass implements the cell. Buffers of one time are (R, B, …) and contiguous."""

    def __init__(self, layer: Recurrence, space: Space) -> None:
        """Allocate the buffers of every cell."""
        (length, width), units, wide = space.shape, layer.units, layer.gates * layer.units
        runs, batch = space.runs, space.batch
        self._times = range(length)
        self._x = space.inputs.reshape(-1, batch * length, width)
        self.outputs = space.empty((length, units))
        self._weight, self._recurrent = space.slots["weight"], space.slots["recurrent"]
        self._bias = space.slots["bias"].offset
        self._parameters, self._gradient = space.parameters, space.gradient
        # x W of all times, in the order of the product; a_t of one time.
        self._products = space.array(runs, batch, length, wide)
        self._flat_products = self._products.reshape(runs, batch * length, wide)
        self._a = space.array(runs, batch, wide)
        self._h = [self.outputs[:, :, t] for t in self._times]
        self._half, self._one = space.number(0.5, 1.0)
        self._dx: Array | None = None
        if space.training:
            self.output_derivative = space.empty((length, units))
            self._dy = [self.output_derivative[:, :, t] for t in self._times]
            self._da = [self._products[:, :, t] for t in self._times]
            self._before = space.zeros(runs, batch, length, units)
            self._flat_before = self._before.reshape(runs, batch * length, units).swapaxes(1, 2)
            self._dh = space.array(runs, batch, units)
        if space.input_derivative is not None:
            self._dx = space.input_derivative.reshape(runs, batch * length, width)

    @abstractmethod
    def _cell(self, t: int) -> None:
        """Write h_t from `_a`, which holds a_t."""

    @abstractmethod
    def _cell_derivative(self, t: int) -> None:
        """Write ∂a_t to `_da[t]` from ∂C/∂h_t, which is `_dy[t]` + `_dh`."""

    def forward(self, step: int) -> None:
        """Compute h_t from the first time to the last."""
        np.matmul(self._x, self._weight.value, out=self._flat_products)
        for t in self._times:
            if t:
                np.matmul(self._h[t - 1], self._recurrent.value, out=self._a)
            else:
                self._a[:] = 0
            _add_parts(self._a, self._products[:, :, t], self._parameters, self._bias)
            self._cell(t)

    def backward(self) -> None:
        """Compute derivatives from the last time to the first; ∂a_t overwrites x_t W, which is no longer needed."""
        u_t = self._recurrent.value.swapaxes(1, 2)
        self._dh[:] = 0
        for t in reversed(self._times):
            self._cell_derivative(t)
            np.matmul(self._da[t], u_t, out=self._dh)
        self._before[:, :, 1:] = self.outputs[:, :, :-1]
        np.matmul(self._x.swapaxes(1, 2), self._flat_products, out=self._weight.gradient)
        np.matmul(self._flat_before, self._flat_products, out=self._recurrent.gradient)
        _sum_rows(self._flat_products, self._gradient, self._bias)
        if self._dx is not None:
            np.matmul(self._flat_products, self._weight.value.swapaxes(1, 2), out=self._dx)


@kernel
def _add_parts(a: Any, product: Any, parameters: Any, bias: int) -> None:
    runs, batch, wide = a.shape
    for r in range(runs):
        row = parameters[r]
        for b in range(batch):
            for i in range(wide):
                a[r, b, i] += product[r, b, i] + row[bias + i]


@kernel
def _sum_rows(da: Any, gradient: Any, bias: int) -> None:
    runs, rows, wide = da.shape
    for r in range(runs):
        total = gradient[r, bias : bias + wide]
        total[:] = 0
        for n in range(rows):
            for i in range(wide):
                total[i] += da[r, n, i]


@dataclass(frozen=True)
class Recurrent(Recurrence):
    """h_t = tanh(x_t W + h_{t−1} U + b); ∂C/∂a_t = ∂C/∂h_t (1 − h_t²).

    Source: Elman 1990, "Finding structure in time".
    """

    kind: ClassVar[str] = "recurrent"
    gates: ClassVar[int] = 1

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return _BoundRecurrent(self, space)


class _BoundRecurrent(BoundRecurrence):
    def _cell(self, t: int) -> None:
        # NumPy's tanh is vectorised, Numba's is one call for each number. The array is contiguous, so that all numbers
        # are computed by the same code.
        np.tanh(self._a, out=self._a)
        self._h[t][:] = self._a

    def _cell_derivative(self, t: int) -> None:
        _slope(self._h[t], self._dy[t], self._dh, self._one, self._da[t])


@kernel
def _slope(h: Any, dy: Any, dh: Any, one: Any, da: Any) -> None:
    runs, batch, units = h.shape
    for r in range(runs):
        for b in range(batch):
            for u in range(units):
                da[r, b, u] = (dy[r, b, u] + dh[r, b, u]) * (one - h[r, b, u] * h[r, b, u])
