"""Curvature: the largest eigenvalue of a Hessian from its products, and the quality α of a step."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from talweg_core.layout import Array

# Replaces a variance of 0, as in Cockpit.
_LEAST = 1e-10


@dataclass(frozen=True)
class Eigenvalue:
    """An eigenvalue of a symmetric H: one lies within `error` of `value`, if the products are exact."""

    value: float
    error: float
    products: int


def largest_eigenvalue(
    product: Callable[[Array], Array], start: Array, *, tolerance: float = 1e-4, most: int = 64
) -> Eigenvalue:
    """The algebraically largest eigenvalue by Lanczos iteration from `start` (P,), in at most `most` products.

    β_k q_{k+1} = H q_k − α_k q_k − β_{k−1} q_{k−1}; the eigenvalues ϑ of the tridiagonal T, with α on its diagonal
    and β next to it, approximate those of H, and for its eigenvector s, |H y − ϑ y| = β_k |s_k|, which is `error`. The
    iteration ends where that is at most `tolerance` |ϑ|. Only three vectors are kept: the loss of orthogonality adds
    copies of eigenvalues already found and does not change the largest. NaN where a product is not finite.

    Sources: Lanczos 1950; Paige 1980, "Accuracy and effectiveness of the Lanczos algorithm".
    """
    q, before = start / np.linalg.norm(start), np.zeros_like(start)
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    while True:
        # Values that are not finite are detected below.
        with np.errstate(all="ignore"):
            w = product(q) - (off_diagonal[-1] if off_diagonal else 0.0) * before
            diagonal.append(float(q @ w))
            w -= diagonal[-1] * q
            off_diagonal.append(float(np.linalg.norm(w)))
        if not np.isfinite(diagonal[-1] + off_diagonal[-1]):
            return Eigenvalue(float("nan"), float("nan"), len(diagonal))
        inside = off_diagonal[:-1]
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(inside, 1) + np.diag(inside, -1))
        value, error = float(values[-1]), off_diagonal[-1] * abs(float(vectors[-1, -1]))
        # A start that is a combination of few eigenvectors spans a small space, which is then exhausted.
        exhausted = off_diagonal[-1] <= 1e-12 * float(np.abs(values).max()) or len(diagonal) == start.size
        if error <= tolerance * abs(value) or exhausted or len(diagonal) == most:
            return Eigenvalue(value, error, len(diagonal))
        before, q = q, w / off_diagonal[-1]


def step_quality(length: float, costs: ArrayLike, slopes: ArrayLike, variances: ArrayLike = (0.0,) * 4) -> float:
    """α of a step of `length` τ: −1 at its start, 0 at the parabola's minimum, 1 at equal height on the other side.

    f(x) = a + b x + c x² is fitted to the two costs f(0), f(τ) and the two slopes f′(0), f′(τ) along the step by least
    squares, each weighted by the inverse of its variance: of costs, then of slopes (4,), all of single examples or all
    of means. α = τ / x* − 1 with x* = −b / 2c. Where c < 0, f has no minimum and α is −1. Where b > 0 the step started
    uphill, and α < −1. NaN where a number is not finite or f is constant.

    Source: Schneider, Dangel & Hennig 2021, "Cockpit: a practical debugging tool for the training of deep neural
    networks" (arXiv 2102.06604), section 3.1 and its `Alpha`, which has the same weights for variances of 0.
    """
    if length == 0:
        return -1.0
    measured = np.concatenate([np.asarray(costs, dtype=np.float64), np.asarray(slopes, dtype=np.float64)])
    # This changes a alone, and a constant f becomes exactly 0.
    measured[:2] -= measured[0]
    weights = 1 / np.sqrt(np.maximum(np.asarray(variances, dtype=np.float64), _LEAST))
    # In units of the step, so that the system of a tiny step is not singular.
    design = np.array([[1, 0, 0], [1, 1, 1], [0, 1, 0], [0, 1, 2]], dtype=np.float64)
    design[2:] /= length
    if not (np.isfinite(measured).all() and np.isfinite(weights).all() and np.isfinite(length)):
        return float("nan")
    _, b, c = np.linalg.lstsq(design * weights[:, None], measured * weights, rcond=None)[0]
    if c < 0:
        return -1.0
    if b == 0:
        return float("inf") if c > 0 else float("nan")
    return float(-2 * c / b - 1)
