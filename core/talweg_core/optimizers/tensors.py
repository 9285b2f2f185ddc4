"""Tools of optimizers for whole tensors: sums over a tensor, and a layout's matrices and vectors.

The bits of a run's sum do not depend on the other runs of the cohort.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.compilation import kernel
from talweg_core.layout import Array, Layout
from talweg_core.optimizers.base import Hyperparameters, Numbers, Situation
from talweg_core.optimizers.coordinate import BoundCoordinates, CoordinateOptimizer

Matrix = tuple[str, "slice[int, int, None]", tuple[int, int]]


def norms(values: Array, offsets: NDArray[np.int64]) -> Numbers:
    """Euclidean norms (R, T) in float64 of the T slices of values (R, P) between the offsets."""
    out = np.empty((len(values), len(offsets) - 1))
    dots(values, values, offsets, out)
    return np.sqrt(out)


def trust_ratios(
    parameters: Array, u: Array, offsets: NDArray[np.int64], coefficient: float | Numbers = 1.0,
    epsilon: float | Numbers = 0.0,
) -> Numbers:  # fmt: skip
    """ζ |θ| / (|u| + ε) (R, T) of the T tensors; 1 where |θ| or |u| is 0. ζ and ε are numbers or (R, 1)."""
    sizes, lengths = norms(parameters, offsets), norms(u, offsets)
    return np.where((sizes == 0) | (lengths == 0), 1.0, coefficient * sizes / (lengths + epsilon))


def row_norms(values: Array) -> Numbers:
    """Euclidean norm (R,) in float64 of every row."""
    return norms(values, np.array([0, values.shape[1]]))[:, 0]


def row_dots(a: Array, b: Array) -> Numbers:
    """Σ a b (R,) in float64 of every row."""
    out = np.empty((len(a), 1))
    dots(a, b, np.array([0, a.shape[1]]), out)
    return out[:, 0]


@kernel
def dots(a: Any, b: Any, offsets: Any, out: Any) -> None:
    """Write Σ a b (R, T) of each slice."""
    for r in range(len(a)):
        x, y = a[r], b[r]
        for k in range(len(offsets) - 1):
            # Four independent sums, so that additions overlap; written out, since with fast-math the bits would depend
            # on the compiler.
            s0 = s1 = s2 = s3 = 0.0
            start, stop = offsets[k], offsets[k + 1]
            whole = start + (stop - start) // 4 * 4
            for i in range(start, whole, 4):
                s0 += float(x[i]) * y[i]
                s1 += float(x[i + 1]) * y[i + 1]
                s2 += float(x[i + 2]) * y[i + 2]
                s3 += float(x[i + 3]) * y[i + 3]
            for i in range(whole, stop):
                s0 += float(x[i]) * y[i]
            out[r, k] = (s0 + s1) + (s2 + s3)


def matrices(layout: Layout) -> list[Matrix]:
    """Name, slice and shape (inputs, outputs) of every tensor of two dimensions or more: (…, outputs)."""
    return [
        (name, layout.slice(name), (math.prod(shape[:-1]), shape[-1]))
        for name, shape in zip(layout.names, layout.shapes, strict=True)
        if len(shape) > 1
    ]


class Vectors:
    """A rule for one coordinate, applied to the tensors of at most one dimension."""

    def __init__(
        self, kind: type[CoordinateOptimizer], h: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> None:
        """`h` must hold the rule's hyperparameters."""
        positions = [
            np.arange(layout.slice(name).start, layout.slice(name).stop)
            for name, shape in zip(layout.names, layout.shapes, strict=True)
            if len(shape) <= 1
        ]
        self._positions: NDArray[np.int64] = np.concatenate(positions) if positions else np.empty(0, np.int64)
        self._rule = BoundCoordinates(kind, h, len(self._positions), dtype)
        self.state = {f"vectors.{name}": array for name, array in self._rule.state.items()}

    def update(self, situation: Situation, learning_rate: Numbers) -> None:
        """Update those tensors, in place, with this learning rate (R,)."""
        if not len(self._positions):
            return
        p = np.ascontiguousarray(situation.parameters[:, self._positions])
        g = np.ascontiguousarray(situation.gradient[:, self._positions])
        h = situation.hyperparameters | {"learning_rate": learning_rate}
        self._rule.update(replace(situation, parameters=p, gradient=g, hyperparameters=h))
        situation.parameters[:, self._positions] = p
