"""Sums over one tensor or one run that do not depend on who shares the cohort."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.compilation import kernel
from talweg_core.layout import Array
from talweg_core.optimizers.base import Numbers


def norms(values: Array, offsets: NDArray[np.int64]) -> Numbers:
    """Euclidean norms (R, T) in float64 of the T stretches of values (R, P) that lie between the offsets."""
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
    """Σ a b (R, T) of each stretch."""
    for r in range(len(a)):
        x, y = a[r], b[r]
        for k in range(len(offsets) - 1):
            # Four sums that are independent, so that additions overlap; written out, since a compiler's licence
            # to reorder would make bits depend on its mood.
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
