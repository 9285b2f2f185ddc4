"""Adam that finds its own learning rate."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.layout import Layout
from talweg_core.optimizers.adaptation import agreement, descend, moments
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


@dataclass(frozen=True)
class DAdaptation(Optimizer):
    """m ← β₁ m + (1 − β₁) γ g, v ← β₂ v + (1 − β₂) g², θ ← θ − m / (√v + ε) − γ λ θ.

    With γ = η d √(1 − β₂ᵗ) / (1 − β₁ᵗ) and β₃ = √β₂: r ← β₃ r + (1 − β₃) γ g·(s / (√v₋ + ε)), from s and v before
    the step, s ← β₃ s + (1 − β₃) γ g, and the next d is max(d, r / ((1 − β₃) Σ |s|)).
    learning_rate: η in (0, ∞), 1 unless a schedule lowers it. beta1, beta2: β₁, β₂ in [0, 1). epsilon: ε in (0, ∞).
    initial_distance: the first d, in (0, ∞). weight_decay: λ in [0, ∞), multiplied by γ.

    Source: Defazio & Mishchenko 2023, algorithm 5 (D-Adapt Adam), with Adam's correction in γ. optax decides, since
    PyTorch has none: contrib.dadapt_adamw(learning_rate, betas, eps, estim_lr0, weight_decay).
    """

    name: ClassVar[str] = "dadaptation"
    needs: ClassVar[Needs] = "scalars"
    state: ClassVar[tuple[str, ...]] = ("m", "v", "s", "distance", "numerator")
    memory: ClassVar[str] = "3 P + 2"

    learning_rate: float = positive(1.0)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.999)
    epsilon: float = positive(1e-8)
    initial_distance: float = positive(1e-6)
    weight_decay: float = not_negative(0.0)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """On (R, P)."""
        return _BoundDAdaptation(hyperparameters, layout, dtype)


class _BoundDAdaptation(BoundOptimizer):
    def __init__(self, h: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> None:
        self._m, self._v, self._s = (np.zeros((h.runs, layout.size), dtype) for _ in range(3))
        self._distance, self._numerator = h.initial_distance.copy(), np.zeros(h.runs)
        self.state = {
            "m": self._m, "v": self._v, "s": self._s, "distance": self._distance, "numerator": self._numerator,
        }  # fmt: skip

    def update(self, situation: Situation) -> None:
        h, p, g, active = situation.hyperparameters, situation.parameters, situation.gradient, situation.active
        t, d, dtype = situation.updates + 1, self._distance, p.dtype
        beta3 = np.sqrt(h.beta2)
        rate = h.learning_rate * d * np.sqrt(1 - h.beta2**t) / (1 - h.beta1**t)
        epsilon = h.epsilon.astype(dtype)
        agreed, lengths = np.zeros(h.runs), np.zeros(h.runs)
        agreement(active, g, self._s, self._v, epsilon, agreed)
        numerator = beta3 * self._numerator + (1 - beta3) * rate * agreed
        scalars = (h.beta1, (1 - h.beta1) * rate, h.beta2, 1 - h.beta2, beta3, (1 - beta3) * rate)
        moments(active, g, self._m, self._v, self._s, tuple(x.astype(dtype) for x in scalars), lengths)
        # Where no gradient has been seen, nothing is known about the distance.
        estimate = np.where(lengths > 0, numerator / np.where(lengths > 0, (1 - beta3) * lengths, 1), 0)
        np.copyto(self._numerator, numerator, where=active)
        np.copyto(self._distance, np.maximum(d, estimate), where=active)
        one = np.ones(h.runs, dtype)
        descend(active, p, self._m, self._v, one, epsilon, (rate * h.weight_decay).astype(dtype))
