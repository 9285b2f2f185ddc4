"""Costs, gradients and Hessian-vector products at trial points, counted, for optimizers that need more than g_t.

The batch and the noise are those of the current step, so that a line search evaluates one function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.layout import Array
from talweg_core.optimizers.base import Flags, Numbers
from talweg_core.problems.base import Oracle, Problem
from talweg_core.randomness import stream

# The h that minimises rounding / h + h² truncation, for a gradient of unit scale in float64.
_WIDTH = float(np.finfo(np.float64).eps) ** (1 / 3)


@dataclass(frozen=True)
class Counts:
    """The number of evaluations of each kind that each run (R,) made at one step."""

    gradients: NDArray[np.int64]
    costs: NDArray[np.int64]
    hessian_products: NDArray[np.int64]


class Trials:
    """The Evaluations of a cohort. They use the cohort's buffers and restore them."""

    def __init__(
        self, problem: Problem, oracle: Oracle, parameters: Array, gradient: Array, seeds: Sequence[int], batch: int
    ) -> None:
        """`oracle` is bound to `parameters` and `gradient`; `batch` is the batch size."""
        self._problem, self._oracle, self._seeds, self._batch = problem, oracle, seeds, batch
        self._parameters, self._gradient = parameters, gradient
        self._step = 0
        self._double: tuple[Oracle, Array, Array] | None = None
        self._counts: NDArray[np.int64] | None = None

    def begin(self, step: int) -> None:
        """Set the step, and the counts to 0."""
        self._step, self._counts = step, None

    def counts(self) -> NDArray[np.int64] | None:
        """(3, R): gradients, costs and Hessian products of the current step; None where there were none."""
        return self._counts

    def _count(self, kind: int, rows: Flags) -> None:
        if self._counts is None:
            self._counts = np.zeros((3, len(self._seeds)), dtype=np.int64)
        self._counts[kind] += rows

    def costs(self, points: Array, rows: Flags) -> Numbers:
        """C (R,) at points (R, P)."""
        self._count(1, rows)
        kept = self._parameters.copy()
        self._parameters[:] = points
        costs = self._oracle.costs(self._step).copy()
        self._parameters[:] = kept
        return costs

    def gradient(self, points: Array, rows: Flags) -> tuple[Numbers, Array]:
        """C (R,) and ∂C/∂θ (R, P) at points (R, P)."""
        self._count(0, rows)
        kept, g = self._parameters.copy(), self._gradient.copy()
        self._parameters[:] = points
        costs = self._oracle.gradient(self._step).copy()
        found = self._gradient.copy()
        self._parameters[:], self._gradient[:] = kept, g
        return costs, found

    def hessian_product(self, vectors: Array, rows: Flags, *, width: float = _WIDTH) -> Array:
        """H v (R, P) by central differences of the gradient, in float64 whatever the runs' precision.

        (g(θ + h v) − g(θ − h v)) / 2h with h |v| = `width` (1 + |θ|). The default width is 6e-6, the cube root of
        float64's rounding: the relative error is then near 1e-10 where third derivatives are moderate. Across the kink
        of a relu the result is the secant's; a smaller width crosses fewer kinks, and its rounding error is
        1e-16 / width.
        """
        self._count(2, rows)
        oracle, point, gradient = self._in_double()
        v = vectors.astype(np.float64)
        theta = self._parameters.astype(np.float64)
        # Row by row: NumPy's sums over an axis may round differently for another number of runs.
        size = np.array([np.linalg.norm(row) for row in v])
        reach = np.array([1 + np.linalg.norm(row) for row in theta])
        h = (width * reach / np.where(size > 0, size, 1))[:, None]
        point[:] = theta + h * v
        oracle.gradient(self._step)
        above = gradient.copy()
        point[:] = theta - h * v
        oracle.gradient(self._step)
        product: Array = ((above - gradient) / (2 * h)).astype(vectors.dtype)
        return product

    def probe(self, row: int) -> np.random.Generator:
        """The random stream (seed, "probe", step)."""
        return stream(self._seeds[row], "probe", self._step)

    def _in_double(self) -> tuple[Oracle, Array, Array]:
        if self._double is None:
            point: NDArray[Any] = np.zeros(self._parameters.shape)
            gradient = np.zeros_like(point)
            self._double = self._problem.bind(point, gradient, self._seeds, self._batch), point, gradient
        return self._double
