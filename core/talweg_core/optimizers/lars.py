"""Layer-wise adaptive rate scaling."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.compilation import kernel
from talweg_core.layout import Layout
from talweg_core.optimizers.base import (
    BoundOptimizer,
    Hyperparameters,
    Needs,
    Optimizer,
    Situation,
    fraction,
    not_negative,
    positive,
)
from talweg_core.optimizers.tensors import trust_ratios


@dataclass(frozen=True)
class LARS(Optimizer):
    """u = g + λ θ, v ← μ v + η ζ |θ| / (|u| + ε) · u, θ ← θ − v: norms of each tensor; ratio 1 where one is 0.

    learning_rate: η in (0, ∞). momentum: μ in [0, 1). trust_coefficient: ζ in (0, ∞). weight_decay: λ in [0, ∞).
    epsilon: ε in [0, ∞).

    Source: You, Gitman & Ginsburg 2017, algorithm 1, with one norm of g + λ θ where the paper adds two. As in
    optax, since PyTorch has none: lars(learning_rate, weight_decay, trust_coefficient, eps, momentum). The default
    η is the paper's for large batches with ζ = 0.001.
    """

    name: ClassVar[str] = "lars"
    needs: ClassVar[Needs] = "tensors"
    state: ClassVar[tuple[str, ...]] = ("velocity",)

    learning_rate: float = positive(1.0)
    momentum: float = fraction(0.9)
    trust_coefficient: float = positive(1e-3)
    weight_decay: float = not_negative(0.0)
    epsilon: float = not_negative(0.0)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs of P coordinates."""
        return _BoundLARS(hyperparameters, layout, dtype)


class _BoundLARS(BoundOptimizer):
    def __init__(self, h: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> None:
        self._offsets = layout.offsets
        self._velocity = np.zeros((h.runs, layout.size), dtype)
        self.state = {"velocity": self._velocity}

    def update(self, situation: Situation) -> None:
        h, p = situation.hyperparameters, situation.parameters
        dtype = p.dtype
        u = situation.gradient + h.weight_decay[:, None].astype(dtype) * p
        ratio = trust_ratios(p, u, self._offsets, h.trust_coefficient[:, None], h.epsilon[:, None])
        rates = (h.learning_rate[:, None] * ratio).astype(dtype)
        _move(situation.active, p, u, self._velocity, self._offsets, rates, h.momentum.astype(dtype))


@kernel
def _move(active: Any, parameters: Any, u: Any, velocity: Any, offsets: Any, rates: Any, momentum: Any) -> None:
    for r in range(len(parameters)):
        if active[r]:
            p, v, d, mu = parameters[r], velocity[r], u[r], momentum[r]
            for k in range(len(offsets) - 1):
                rate = rates[r, k]
                for i in range(offsets[k], offsets[k + 1]):
                    v[i] = mu * v[i] + rate * d[i]
                    p[i] -= v[i]
