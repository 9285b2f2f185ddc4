"""Adam that uses its second moment only once that is estimated from enough gradients."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, not_negative, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class RAdam(CoordinateOptimizer):
    """m and v as in Adam; θ ← θ − η m̂ while ρₜ ≤ 5, then θ ← θ − η rₜ m̂ √(1 − β₂ᵗ) / (√v + ε).

    ρ∞ = 2 / (1 − β₂) − 1, ρₜ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ),
    rₜ = √((ρₜ − 4)(ρₜ − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρₜ)).
    learning_rate: η in (0, ∞). beta1, beta2: β₁, β₂ in [0, 1). epsilon: ε in [0, ∞).

    Source: Liu et al. 2020, algorithm 2, with the threshold 5 instead of 4 and ε added to √v, as in PyTorch:
    RAdam(lr, betas, eps).
    """

    name: ClassVar[str] = "radam"
    state: ClassVar[tuple[str, ...]] = ("m", "v")

    learning_rate: float = positive(1e-3)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.999)
    epsilon: float = not_negative(1e-8)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """While ρₜ ≤ 5, the denominator is `plain` = 1 and √v has the weight 0."""
        t = k + 1
        left = 1 - h.beta2**t
        limit = 2 / (1 - h.beta2) - 1
        rho = limit - 2 * t * h.beta2**t / left
        trusted = rho > 5
        ratio = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
        rectified = np.sqrt(np.where(trusted, ratio, 1.0)) * np.sqrt(left)
        return {
            "rate": h.learning_rate / (1 - h.beta1**t) * np.where(trusted, rectified, 1.0),
            "beta1": h.beta1,
            "rest1": 1 - h.beta1,
            "beta2": h.beta2,
            "rest2": 1 - h.beta2,
            "weight": np.where(trusted, 1.0, 0.0),
            "plain": np.where(trusted, h.epsilon, 1.0),
        }

    @staticmethod
    def rule(
        gradient: Any, m: Any, v: Any, rate: Any, beta1: Any, rest1: Any, beta2: Any, rest2: Any, weight: Any,
        plain: Any,
    ) -> Any:  # fmt: skip
        """One coordinate."""
        m = beta1 * m + rest1 * gradient
        v = beta2 * v + rest2 * gradient * gradient
        return -rate * m / (weight * sqrt(v) + plain), m, v
