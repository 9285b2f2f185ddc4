"""Long short-term memory (LSTM)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.compilation import kernel
from talweg_core.layers.base import BoundLayer, Space
from talweg_core.layers.recurrent import BoundRecurrence, Recurrence


@dataclass(frozen=True)
class LSTM(Recurrence):
    """c_t = f c_{t−1} + i g, h_t = o tanh c_t; a_t = (i, f, g, o) before σ(i), σ(f + 1), tanh(g), σ(o).

    With D = ∂C/∂h_t and E = ∂C/∂c_t = D o (1 − tanh² c_t) + E_{t+1} f_{t+1}: ∂i = E g i (1 − i),
    ∂f = E c_{t−1} f (1 − f), ∂g = E i (1 − g²), ∂o = D tanh(c_t) o (1 − o).
    Sources: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000 (f); Jozefowicz, Zaremba & Sutskever
    2015 (the 1 added to f, which keeps memory at the start of training).
    """

    kind: ClassVar[str] = "lstm"
    gates: ClassVar[int] = 4

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return _BoundLSTM(self, space)


class _BoundLSTM(BoundRecurrence):
    def __init__(self, layer: LSTM, space: Space) -> None:
        super().__init__(layer, space)
        length, (runs, batch, units) = len(self._times), self._h[0].shape
        self._activated = space.array(length, runs, batch, 4 * units)
        self._c = space.zeros(length + 1, runs, batch, units)
        self._tanh_c = space.array(length, runs, batch, units)
        if space.training:
            self._dc = space.array(runs, batch, units)

    def _cell(self, t: int) -> None:
        gates = self._activated[t]
        # σ(a) = ½ + ½ tanh(½ a): one call of NumPy's vectorised tanh computes all four gates.
        _halve(self._a, self._half, self._one)
        np.tanh(self._a, out=gates)
        _remember(gates, self._c[t], self._half, self._c[t + 1])
        np.tanh(self._c[t + 1], out=self._tanh_c[t])
        _reveal(gates, self._tanh_c[t], self._h[t])

    def backward(self) -> None:
        self._dc[:] = 0
        super().backward()

    def _cell_derivative(self, t: int) -> None:
        _derivatives(
            self._activated[t], self._c[t], self._tanh_c[t], self._dy[t], self._dh, self._dc, self._one, self._da[t]
        )  # fmt: skip


@kernel
def _halve(a: Any, half: Any, one: Any) -> None:
    """In place, ½ i, ½ (f + 1), g, ½ o."""
    runs, batch, wide = a.shape
    units = wide // 4
    for r in range(runs):
        for b in range(batch):
            row = a[r, b]
            for u in range(units):
                row[u] *= half
                row[units + u] = half * (row[units + u] + one)
                row[3 * units + u] *= half


@kernel
def _remember(gates: Any, before: Any, half: Any, c: Any) -> None:
    """In place, gates become σ, σ, tanh, σ; c = f c_{t−1} + i g."""
    runs, batch, units = c.shape
    for r in range(runs):
        for b in range(batch):
            row = gates[r, b]
            for u in range(units):
                row[u] = half + half * row[u]
                row[units + u] = half + half * row[units + u]
                row[3 * units + u] = half + half * row[3 * units + u]
                c[r, b, u] = row[units + u] * before[r, b, u] + row[u] * row[2 * units + u]


@kernel
def _reveal(gates: Any, tanh_c: Any, h: Any) -> None:
    runs, batch, units = h.shape
    for r in range(runs):
        for b in range(batch):
            for u in range(units):
                h[r, b, u] = gates[r, b, 3 * units + u] * tanh_c[r, b, u]


@kernel
def _derivatives(gates: Any, before: Any, tanh_c: Any, dy: Any, dh: Any, dc: Any, one: Any, da: Any) -> None:
    """Write ∂a_t; in place, dc becomes ∂C/∂c_{t−1}."""
    runs, batch, units = dc.shape
    for r in range(runs):
        for b in range(batch):
            row, out = gates[r, b], da[r, b]
            for u in range(units):
                i, f, g, o = row[u], row[units + u], row[2 * units + u], row[3 * units + u]
                slope, tanh = dy[r, b, u] + dh[r, b, u], tanh_c[r, b, u]
                memory = dc[r, b, u] + slope * o * (one - tanh * tanh)
                out[u] = memory * g * i * (one - i)
                out[units + u] = memory * before[r, b, u] * f * (one - f)
                out[2 * units + u] = memory * i * (one - g * g)
                out[3 * units + u] = slope * tanh * o * (one - o)
                dc[r, b, u] = memory * f
