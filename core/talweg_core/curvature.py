"""The largest eigenvalue of a Hessian that is known by its products alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from talweg_core.layout import Array


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
