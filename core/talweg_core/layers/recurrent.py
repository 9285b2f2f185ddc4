"""The simple recurrent layer."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.compilation import kernel
from talweg_core.layers.base import BoundLayer, Space
from talweg_core.layers.recurrence import BoundRecurrence, Recurrence


@dataclass(frozen=True)
class Recurrent(Recurrence):
    """h_t = tanh(x_t W + h_{t−1} U + b); ∂C/∂a_t = ∂C/∂h_t (1 − h_t²).

    Source: Elman 1990, "Finding structure in time".
    """

    kind: ClassVar[str] = "recurrent"
    gates: ClassVar[int] = 1

    def bind(self, space: Space) -> BoundLayer:
        """On buffers."""
        return _BoundRecurrent(self, space)


class _BoundRecurrent(BoundRecurrence):
    def _cell(self, t: int) -> None:
        # NumPy's tanh is vectorised, Numba's is a call a number; contiguous, so that every number takes one path.
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
