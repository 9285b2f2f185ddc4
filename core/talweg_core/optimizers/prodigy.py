"""D-Adaptation with a faster estimate of the learning rate."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

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
from talweg_core.optimizers.dadaptation import BoundAdaptation, descend, moments
from talweg_core.optimizers.tensors import row_dots


@dataclass(frozen=True)
class Prodigy(Optimizer):
    """m ← β₁ m + (1 − β₁) d g, v ← β₂ v + (1 − β₂) d² g², θ ← θ − γ (m / (√v + d′ ε) + λ θ).

    With γ = η d √(1 − β₂ᵗ) / (1 − β₁ᵗ), β₃ = √β₂ and d₀ the initial d: r ← β₃ r + γ d / d₀ · g·(θ₀ − θ),
    s ← β₃ s + γ d / d₀ · g, and the next d is d′ = max(d, c r / Σ |s|), a lower bound of the distance to the minimum.
    learning_rate: η in (0, ∞), 1 unless a schedule lowers it. beta1, beta2: β₁, β₂ in [0, 1). epsilon: ε in [0, ∞).
    initial_distance: d₀ in (0, ∞). growth: c in (0, ∞). weight_decay: λ in [0, ∞), multiplied by γ.

    Source: Mishchenko & Defazio 2023, algorithm 4, with Adam's correction in γ. As in optax, since PyTorch has
    none: contrib.prodigy(learning_rate, betas, eps, estim_lr0, estim_lr_coef, weight_decay), β₃ at its default.
    """

    name: ClassVar[str] = "prodigy"
    needs: ClassVar[Needs] = "scalars"
    state: ClassVar[tuple[str, ...]] = ("m", "v", "s", "start", "distance", "numerator")
    memory: ClassVar[str] = "4 P + 2"

    learning_rate: float = positive(1.0)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.999)
    epsilon: float = not_negative(1e-8)
    initial_distance: float = positive(1e-6)
    growth: float = positive(1.0)
    weight_decay: float = not_negative(0.0)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs of P coordinates."""
        return _BoundProdigy(hyperparameters, layout, dtype)


class _BoundProdigy(BoundAdaptation):
    def __init__(self, h: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> None:
        super().__init__(h, layout, dtype, "start")
        self._start = self.state["start"]

    def update(self, situation: Situation) -> None:
        h, p, g, active = situation.hyperparameters, situation.parameters, situation.gradient, situation.active
        # A copy: `_learn` changes the distance in place.
        d, dtype = self._distance.copy(), p.dtype
        begun = active & (situation.updates == 0)
        self._start[begun] = p[begun]
        beta3, rate = np.sqrt(h.beta2), self._rate(h, situation.updates)
        weight = rate * d / h.initial_distance
        numerator = beta3 * self._numerator + weight * row_dots(g, self._start - p)
        scalars = (h.beta1, (1 - h.beta1) * d, h.beta2, (1 - h.beta2) * d * d, beta3, weight)
        lengths = np.zeros(h.runs)
        moments(active, g, self._m, self._v, self._s, tuple(x.astype(dtype) for x in scalars), lengths)
        self._learn(active, numerator, h.growth * numerator, lengths, lengths)
        epsilon = np.maximum(self._distance * h.epsilon, np.finfo(dtype).tiny)
        descend(
            active, p, self._m, self._v, rate.astype(dtype), epsilon.astype(dtype),
            (rate * h.weight_decay).astype(dtype),
        )  # fmt: skip
