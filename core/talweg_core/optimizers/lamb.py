"""Layer-wise adaptive moments for large batches."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from talweg_core.compilation import kernel
from talweg_core.layout import Layout
from talweg_core.optimizers.adam import Adam
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
class LAMB(Optimizer):
    """u = m̂ / (√v̂ + ε) + λ θ as in AdamW, θ ← θ − η |θ| / |u| · u: norms of each tensor; ratio 1 where one is 0.

    learning_rate: η in (0, ∞). beta1, beta2: β₁, β₂ in [0, 1). epsilon: ε in [0, ∞). weight_decay: λ in [0, ∞),
    inside u and so multiplied by the ratio.

    Source: You et al. 2020, algorithm 2, with φ the identity. As in optax, since PyTorch has none:
    lamb(learning_rate, b1, b2, eps, weight_decay), which has no default η; here of the size of the paper's.
    """

    name: ClassVar[str] = "lamb"
    needs: ClassVar[Needs] = "tensors"
    state: ClassVar[tuple[str, ...]] = ("m", "v")

    learning_rate: float = positive(1e-2)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.999)
    epsilon: float = not_negative(1e-6)
    weight_decay: float = not_negative(0.0)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs of P coordinates."""
        return _BoundLAMB(hyperparameters, layout, dtype)


class _BoundLAMB(BoundOptimizer):
    def __init__(self, h: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> None:
        self._offsets = layout.offsets
        self._m, self._v, self._u = (np.zeros((h.runs, layout.size), dtype) for _ in range(3))
        self.state = {"m": self._m, "v": self._v}

    def update(self, situation: Situation) -> None:
        h, p = situation.hyperparameters, situation.parameters
        adam = Adam.scalars(h | {"learning_rate": np.ones(h.runs)}, situation.updates)
        scalars = tuple(values.astype(p.dtype) for values in (*adam.values(), h.weight_decay))
        _direction(situation.active, p, situation.gradient, self._m, self._v, self._u, scalars)
        rates = (h.learning_rate[:, None] * trust_ratios(p, self._u, self._offsets)).astype(p.dtype)
        _move(situation.active, p, self._u, self._offsets, rates)


@kernel
def _direction(active: Any, parameters: Any, gradient: Any, first: Any, second: Any, out: Any, scalars: Any) -> None:
    rates, betas1, rests1, betas2, rests2, roots, epsilons, decays = scalars
    for r in range(len(parameters)):
        if active[r]:
            p, g, m, v, u = parameters[r], gradient[r], first[r], second[r], out[r]
            rate, beta1, rest1, beta2, rest2 = rates[r], betas1[r], rests1[r], betas2[r], rests2[r]
            root, epsilon, decay = roots[r], epsilons[r], decays[r]
            for i in range(p.size):
                m[i] = beta1 * m[i] + rest1 * g[i]
                v[i] = beta2 * v[i] + rest2 * g[i] * g[i]
                u[i] = rate * m[i] / (sqrt(v[i]) / root + epsilon) + decay * p[i]


@kernel
def _move(active: Any, parameters: Any, u: Any, offsets: Any, rates: Any) -> None:
    for r in range(len(parameters)):
        if active[r]:
            p, d = parameters[r], u[r]
            for k in range(len(offsets) - 1):
                rate = rates[r, k]
                for i in range(offsets[k], offsets[k + 1]):
                    p[i] -= rate * d[i]
