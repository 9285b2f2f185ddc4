"""Adam with Nesterov momentum."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, not_negative, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class NAdam(CoordinateOptimizer):
    """m and v as in Adam, θ ← θ − η ((1 − μₜ) g / (1 − Πₜ) + μₜ₊₁ m / (1 − Πₜ₊₁)) / (√v̂ + ε).

    μₜ = β₁ (1 − ½ · 0.96^(t ψ)) and Πₜ = μ₁ ⋯ μₜ.
    learning_rate: η in (0, ∞). beta1, beta2: β₁, β₂ in [0, 1). epsilon: ε in [0, ∞). momentum_decay: ψ in [0, ∞).

    Source: Dozat 2016, algorithm 2 with the schedule of its section 4. PyTorch: NAdam(lr, betas, eps,
    momentum_decay).
    """

    name: ClassVar[str] = "nadam"
    state: ClassVar[tuple[str, ...]] = ("m", "v")
    numbers: ClassVar[dict[str, float]] = {"product": 1.0}

    learning_rate: float = positive(2e-3)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.999)
    epsilon: float = not_negative(1e-8)
    momentum_decay: float = not_negative(4e-3)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """The weights of g and m, with both bias corrections."""
        mu, after = (h.beta1 * (1 - 0.5 * 0.96 ** (t * h.momentum_decay)) for t in (k + 1, k + 2))
        product = h.product * mu
        return {
            "now": h.learning_rate * (1 - mu) / (1 - product),
            "ahead": h.learning_rate * after / (1 - product * after),
            "beta1": h.beta1,
            "rest1": 1 - h.beta1,
            "beta2": h.beta2,
            "rest2": 1 - h.beta2,
            "root": np.sqrt(1 - h.beta2 ** (k + 1)),
            "epsilon": h.epsilon,
            "product": product,
        }

    @staticmethod
    def rule(
        gradient: Any, m: Any, v: Any, now: Any, ahead: Any, beta1: Any, rest1: Any, beta2: Any, rest2: Any,
        root: Any, epsilon: Any,
    ) -> Any:  # fmt: skip
        """One coordinate."""
        m = beta1 * m + rest1 * gradient
        v = beta2 * v + rest2 * gradient * gradient
        return -(now * gradient + ahead * m) / (sqrt(v) / root + epsilon), m, v
