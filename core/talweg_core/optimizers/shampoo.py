"""A preconditioner for each side of a matrix."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from talweg_core.layout import Array, Layout
from talweg_core.optimizers.adagrad import AdaGrad
from talweg_core.optimizers.base import (
    BoundOptimizer,
    Hyperparameters,
    Needs,
    Optimizer,
    Situation,
    fraction,
    positive,
    whole,
)
from talweg_core.optimizers.tensors import Vectors, matrices


@dataclass(frozen=True)
class Shampoo(Optimizer):
    """L ← L + G Gᵀ, R ← R + Gᵀ G, V ← μ V + L^(−¼) G R^(−¼), θ ← θ − η V, for each matrix; L and R start at ε I.

    Tensors of one dimension follow AdaGrad, the same idea on the diagonal: h ← h + g² from ε, θ ← θ − η g / √h. A
    tensor of more dimensions than two is read as (…, last).
    learning_rate: η in (0, ∞). momentum: μ in [0, 1), on matrices. epsilon: ε in (0, ∞). every: n; the roots are
    computed at every n-th update.

    Source: Gupta, Koren & Singer 2018, algorithm 1; neither PyTorch nor optax has it. Deviations: AdaGrad for vectors,
    and tensors read as matrices, where the paper has one factor for each dimension; roots by eigenvalues in float64.
    """

    name: ClassVar[str] = "shampoo"
    needs: ClassVar[Needs] = "tensors"
    state: ClassVar[tuple[str, ...]] = ("velocity", "left", "right", "left root", "right root")
    memory: ClassVar[str] = "P + 2 (n² + m²) a matrix"

    learning_rate: float = positive(1e-1)
    momentum: float = fraction(0.0)
    epsilon: float = positive(1e-4)
    every: float = whole(1)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs of P coordinates."""
        return _BoundShampoo(hyperparameters, layout, dtype)


class _BoundShampoo(BoundOptimizer):
    def __init__(self, h: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> None:
        self._matrices = matrices(layout)
        zero = np.zeros(h.runs)
        plain = h | {"initial_accumulator": h.epsilon, "epsilon": zero, "learning_rate_decay": zero}
        self._vectors = Vectors(AdaGrad, plain, layout, dtype)
        self._plain = {"epsilon": zero, "learning_rate_decay": zero}
        self.state = dict(self._vectors.state)
        for name, _, (n, m) in self._matrices:
            for side, length in (("left", n), ("right", m)):
                start = h.epsilon[:, None, None] * np.eye(length)
                self.state[f"{side}.{name}"] = start
                self.state[f"{side} root.{name}"] = np.zeros_like(start)
            self.state[f"velocity.{name}"] = np.zeros((h.runs, n, m), dtype)

    def update(self, situation: Situation) -> None:
        h = situation.hyperparameters
        for r in np.flatnonzero(situation.active):
            renew = situation.updates[r] % h.every[r] == 0
            for name, where, shape in self._matrices:
                g = situation.gradient[r, where].reshape(shape).astype(np.float64)
                left, right = self.state[f"left.{name}"][r], self.state[f"right.{name}"][r]
                roots = self.state[f"left root.{name}"], self.state[f"right root.{name}"]
                left += g @ g.T
                right += g.T @ g
                if renew:
                    roots[0][r], roots[1][r] = _inverse_fourth_root(left), _inverse_fourth_root(right)
                velocity = self.state[f"velocity.{name}"][r]
                velocity[:] = h.momentum[r] * velocity + roots[0][r] @ g @ roots[1][r]
                situation.parameters[r, where] -= (h.learning_rate[r] * velocity).ravel()
        self._vectors.update(replace(situation, hyperparameters=h | self._plain), h.learning_rate)


def _inverse_fourth_root(matrix: Array) -> Array:
    """A^(−¼) of a symmetric positive matrix; negative eigenvalues, by rounding, become the smallest positive number."""
    if not np.isfinite(matrix).all():
        return np.full_like(matrix, np.nan)
    values, vectors = np.linalg.eigh(matrix)
    powers = np.maximum(values, np.finfo(np.float64).tiny) ** -0.25
    root: Array = (vectors * powers) @ vectors.T
    return root
