"""Adam in the eigenbasis of Shampoo's preconditioner."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from talweg_core.layout import Array, Layout
from talweg_core.optimizers.adamw import AdamW
from talweg_core.optimizers.base import (
    BoundOptimizer,
    Hyperparameters,
    Needs,
    Optimizer,
    Situation,
    fraction,
    not_negative,
    positive,
    whole,
)
from talweg_core.optimizers.tensors import Vectors, matrices


@dataclass(frozen=True)
class SOAP(Optimizer):
    """G′ = Qₗᵀ G Qᵣ, M ← β₁ M + (1 − β₁) G, V ← β₂ V + (1 − β₂) G′², θ ← θ − η (Qₗ N Qᵣᵀ + λ θ) for each matrix.

    N = (Qₗᵀ M Qᵣ / (1 − β₁ᵗ)) / (√(V / (1 − β₂ᵗ)) + ε); after it L ← β₂ L + (1 − β₂) G Gᵀ, R likewise, and at every
    n-th update Q becomes the orthogonal factor of L Q (one power iteration). The first update changes no matrix: it
    computes L, R and their eigenvectors. Tensors of one dimension follow AdamW; more than two are read as (…, last).
    learning_rate: η in (0, ∞). beta1, beta2: β₁, β₂ in [0, 1). epsilon: ε in [0, ∞). weight_decay: λ in [0, ∞).
    every: n.

    Source: Vyas et al. 2024, algorithms 3 and 4, with the first update skipped and columns sorted by eigenvalue as in
    the authors' code, and moments corrected with ε added to the corrected root as in Adam; neither PyTorch nor optax
    has it. Defaults are the authors'. Q and its products are in float64. The first update
    changes vectors, as in AdamW.
    """

    name: ClassVar[str] = "soap"
    needs: ClassVar[Needs] = "tensors"
    state: ClassVar[tuple[str, ...]] = ("m", "v", "left", "right", "left basis", "right basis")
    memory: ClassVar[str] = "2 P + 2 (n² + m²) a matrix"

    learning_rate: float = positive(3e-3)
    beta1: float = fraction(0.95)
    beta2: float = fraction(0.95)
    epsilon: float = not_negative(1e-8)
    weight_decay: float = not_negative(1e-2)
    every: float = whole(10)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs of P coordinates."""
        return _BoundSOAP(hyperparameters, layout, dtype)


class _BoundSOAP(BoundOptimizer):
    def __init__(self, h: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> None:
        self._matrices = matrices(layout)
        self._vectors = Vectors(AdamW, h, layout, dtype)
        self.state = dict(self._vectors.state)
        for name, _, (n, m) in self._matrices:
            for part in ("m", "v"):
                self.state[f"{part}.{name}"] = np.zeros((h.runs, n, m), dtype)
            for side, length in (("left", n), ("right", m)):
                self.state[f"{side}.{name}"] = np.zeros((h.runs, length, length))
                self.state[f"{side} basis.{name}"] = np.zeros((h.runs, length, length))

    def update(self, situation: Situation) -> None:
        h = situation.hyperparameters
        for r in map(int, np.flatnonzero(situation.active)):
            row = h.of_run(r)
            for name, where, shape in self._matrices:
                g = situation.gradient[r, where].reshape(shape).astype(np.float64)
                p = situation.parameters[r, where].reshape(shape)
                self._one(name, r, p, g, row, int(situation.updates[r]))
        self._vectors.update(situation, h.learning_rate)

    def _one(self, name: str, r: int, p: Array, g: Array, h: dict[str, float], k: int) -> None:
        m, v, left, right, ql, qr = (
            self.state[f"{part}.{name}"][r] for part in ("m", "v", "left", "right", "left basis", "right basis")
        )
        if k:
            m[:] = h["beta1"] * m + (1 - h["beta1"]) * g
            v[:] = h["beta2"] * v + (1 - h["beta2"]) * (ql.T @ g @ qr) ** 2
            size = np.sqrt(v / (1 - h["beta2"] ** k)) + h["epsilon"]
            normal = (ql.T @ m @ qr) / (1 - h["beta1"] ** k) / size
            p -= h["learning_rate"] * (ql @ normal @ qr.T + h["weight_decay"] * p)
        for square, total in ((g @ g.T, left), (g.T @ g, right)):
            total += (1 - h["beta2"]) * (square - total)
        if k == 0:
            ql[:], qr[:] = _eigenvectors(left), _eigenvectors(right)
        elif k % h["every"] == 0:
            ql[:], order = _power_iteration(left, ql)
            v[:] = v[order]
            qr[:], order = _power_iteration(right, qr)
            v[:] = v[:, order]


def _eigenvectors(matrix: Array) -> Array:
    """The eigenvectors as columns, by decreasing eigenvalue."""
    vectors: Array = np.linalg.eigh(matrix)[1][:, ::-1]
    return vectors


def _power_iteration(matrix: Array, basis: Array) -> tuple[Array, NDArray[np.intp]]:
    """The next basis, and the order of its columns: by decreasing estimate of the eigenvalue."""
    order = np.argsort(-np.diag(basis.T @ matrix @ basis), kind="stable")
    return np.linalg.qr(matrix @ basis[:, order])[0], order
