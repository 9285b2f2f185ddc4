"""Adaptive Nesterov momentum, from gradients and their differences."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, not_negative, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class Adan(CoordinateOptimizer):
    """θ ← θ − η ((m̂ + (1 − β₂) v̂) / (√(n̂ + ε_root) + ε) + λ θ), with d = g − g₋ (0 at the first step).

    m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) d, n ← β₃ n + (1 − β₃)(g + (1 − β₂) d)²; hats divide by 1 − βᵗ.
    learning_rate: η in (0, ∞). beta1, beta2, beta3 in [0, 1). epsilon, epsilon_root in [0, ∞). weight_decay: λ in
    [0, ∞), multiplied by η.

    Source: Xie et al. 2022, algorithm 1 of arXiv 2208.06677v4, whose β is 1 minus the β here and whose
    decay divides by 1 + λ η. As in optax, since PyTorch has none: adan(learning_rate, b1, b2, b3, eps, eps_root,
    weight_decay), which has no default η; here Adam's.
    """

    name: ClassVar[str] = "adan"
    state: ClassVar[tuple[str, ...]] = ("m", "v", "n", "previous")

    learning_rate: float = positive(1e-3)
    beta1: float = fraction(0.98)
    beta2: float = fraction(0.92)
    beta3: float = fraction(0.99)
    epsilon: float = not_negative(1e-8)
    epsilon_root: float = not_negative(1e-8)
    weight_decay: float = not_negative(0.0)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """Complements and bias corrections; `later` is 0 at the first update, which has no difference, else 1."""
        t = k + 1
        return {
            "later": np.where(k == 0, 0.0, 1.0),
            "beta1": h.beta1,
            "rest1": 1 - h.beta1,
            "beta2": h.beta2,
            "rest2": 1 - h.beta2,
            "beta3": h.beta3,
            "rest3": 1 - h.beta3,
            "rate": h.learning_rate / (1 - h.beta1**t),
            "push": h.learning_rate * (1 - h.beta2) / (1 - h.beta2**t),
            "left3": 1 / (1 - h.beta3**t),
            "epsilon": h.epsilon,
            "epsilon_root": h.epsilon_root,
            "decay": h.learning_rate * h.weight_decay,
        }

    @staticmethod
    def rule(
        gradient: Any, parameter: Any, m: Any, v: Any, n: Any, previous: Any, later: Any, beta1: Any, rest1: Any,
        beta2: Any, rest2: Any, beta3: Any, rest3: Any, rate: Any, push: Any, left3: Any, epsilon: Any,
        epsilon_root: Any, decay: Any,
    ) -> Any:  # fmt: skip
        """One coordinate."""
        change = later * (gradient - previous)
        m = beta1 * m + rest1 * gradient
        v = beta2 * v + rest2 * change
        ahead = gradient + rest2 * change
        n = beta3 * n + rest3 * ahead * ahead
        update = -(rate * m + push * v) / (sqrt(n * left3 + epsilon_root) + epsilon) - decay * parameter
        return update, m, v, n, gradient
