"""L1 and L2 terms: what a cost adds for the size of the weights."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.compilation import kernel
from talweg_core.layout import Array


class BoundPenalty:
    """C += l1 Σ |w| + l2 Σ w²; ∂C/∂w += l1 sign(w) + 2 l2 w, over tensors of two or more dimensions.

    Biases and scales are left alone, as Goodfellow, Bengio & Courville 2016, section 7.1, advise.
    Sources: Tibshirani 1996 (L1), Hoerl & Kennard 1970 (L2, without a factor ½).
    """

    def __init__(
        self, parameters: Array, gradient: Array, slices: "list[slice[int, int, None]]", l1: float, l2: float
    ) -> None:
        """On the flat parameters and gradient (R, P); `slices` are the tensors that count."""
        self._parameters, self._gradient = parameters, gradient
        self._bounds = np.array([(part.start, part.stop) for part in slices], dtype=np.int64).reshape(-1, 2)
        self._l1, self._l2 = parameters.dtype.type(l1), parameters.dtype.type(l2)
        self._twice = parameters.dtype.type(2 * l2)

    def add_to(self, costs: NDArray[np.float64]) -> None:
        """Add to each run's cost (R,), in place."""
        _add_costs(self._parameters, self._bounds, self._l1, self._l2, costs)

    def add_to_gradient(self) -> None:
        """Add to the gradient, in place."""
        _add_slopes(self._parameters, self._bounds, self._l1, self._twice, self._gradient)


@kernel
def _add_costs(parameters: Any, bounds: Any, l1: Any, l2: Any, costs: Any) -> None:
    for r in range(len(parameters)):
        row = parameters[r]
        absolute, square = 0.0, 0.0
        for k in range(len(bounds)):
            for i in range(bounds[k, 0], bounds[k, 1]):
                absolute += abs(row[i])
                square += row[i] * row[i]
        costs[r] += l1 * absolute + l2 * square


@kernel
def _add_slopes(parameters: Any, bounds: Any, l1: Any, twice_l2: Any, gradient: Any) -> None:
    for r in range(len(parameters)):
        row, out = parameters[r], gradient[r]
        for k in range(len(bounds)):
            for i in range(bounds[k, 0], bounds[k, 1]):
                out[i] += l1 * np.sign(row[i]) + twice_l2 * row[i]
