"""Curvature: the largest eigenvalue of a Hessian known by its products alone, and where in its valley a step ended."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from talweg_core.layout import Array

# What stands for a variance of 0, as in Cockpit.
_LEAST = 1e-10


@dataclass(frozen=True)
class Eigenvalue:
    """`value`, of a symmetric H; some eigenvalue of H lies within `error` of it, as far as the products are exact."""

    value: float
    error: float
    products: int


def largest_eigenvalue(
    product: Callable[[Array], Array], start: Array, *, tolerance: float = 1e-4, most: int = 64
) -> Eigenvalue:
    """The algebraically largest eigenvalue by Lanczos' iteration from `start` (P,), in at most `most` products.

    β_k q_{k+1} = H q_k − α_k q_k − β_{k−1} q_{k−1}; the eigenvalues ϑ of the tridiagonal T with α on its diagonal and β
    beside it come near those of H, and for its eigenvector s, |H y − ϑ y| = β_k |s_k|, which is `error`. It ends where
    that is at most `tolerance` |ϑ|. Three vectors are kept: what is lost of their being orthogonal brings copies of
    eigenvalues that were found already, and does not move the largest. NaN where a product is not finite.

    Sources: Lanczos 1950; Paige 1980, "Accuracy and effectiveness of the Lanczos algorithm".
    """
    q, before = start / np.linalg.norm(start), np.zeros_like(start)
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        # What is not finite shows below.
        with np.errstate(all="ignore"):
            w = product(q) - (beside[-1] if beside else 0.0) * before
            diagonal.append(float(q @ w))
            w -= diagonal[-1] * q
            beside.append(float(np.linalg.norm(w)))
        if not np.isfinite(diagonal[-1] + beside[-1]):
            return Eigenvalue(float("nan"), float("nan"), len(diagonal))
        inside = beside[:-1]
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(inside, 1) + np.diag(inside, -1))
        value, error = float(values[-1]), beside[-1] * abs(float(vectors[-1, -1]))
        # A start within few eigenvectors spans nothing more.
        spent = beside[-1] <= 1e-12 * float(np.abs(values).max()) or len(diagonal) == start.size
        if error <= tolerance * abs(value) or spent or len(diagonal) == most:
            return Eigenvalue(value, error, len(diagonal))
        before, q = q, w / beside[-1]


def step_quality(length: float, costs: ArrayLike, slopes: ArrayLike, variances: ArrayLike = (0.0,) * 4) -> float:
    """α of a step of `length` τ: −1 where it stayed, 0 in the valley's lowest point, 1 as high on the other side.

    f(x) = a + b x + c x² is fitted to the two costs f(0), f(τ) and the two slopes f′(0), f′(τ) along the step by least
    squares, each weighted by the inverse of its variance: of costs, then of slopes (4,), all of single examples or all
    of means. α = τ / x* − 1 with x* = −b / 2c. Where c < 0 the step still goes downhill: −1. Where b > 0 it began
    uphill, and α < −1. NaN where something is not finite or all is level.

    Source: Schneider, Dangel & Hennig 2021, "Cockpit: a practical debugging tool for the training of deep neural
    networks" (arXiv 2102.06604), section 3.1 and its `Alpha`, whose weights for variances of 0 are these too.
    """
    if length == 0:
        return -1.0
    seen = np.concatenate([np.asarray(costs, dtype=np.float64), np.asarray(slopes, dtype=np.float64)])
    # Only a moves with this, and what is level is exactly so.
    seen[:2] -= seen[0]
    weights = 1 / np.sqrt(np.maximum(np.asarray(variances, dtype=np.float64), _LEAST))
    # In units of the step, so that a tiny one is not a singular system.
    design = np.array([[1, 0, 0], [1, 1, 1], [0, 1, 0], [0, 1, 2]], dtype=np.float64)
    design[2:] /= length
    if not (np.isfinite(seen).all() and np.isfinite(weights).all() and np.isfinite(length)):
        return float("nan")
    _, b, c = np.linalg.lstsq(design * weights[:, None], seen * weights, rcond=None)[0]
    if c < 0:
        return -1.0
    if b == 0:
        return float("inf") if c > 0 else float("nan")
    return float(-2 * c / b - 1)
