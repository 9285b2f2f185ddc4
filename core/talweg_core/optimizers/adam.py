"""Adaptive moment estimation."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, not_negative, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class Adam(CoordinateOptimizer):
    """m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², θ ← θ − η m̂ / (√v̂ + ε).

    m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) correct the bias towards the initial zeros; t counts from 1.
    learning_rate: η in (0, ∞). beta1, beta2: β₁, β₂ in [0, 1). epsilon: ε in [0, ∞).

    Source: Kingma & Ba 2015, algorithm 1. PyTorch: Adam(lr, betas=(beta1, beta2), eps).
    """

    name: ClassVar[str] = "adam"
    state: ClassVar[tuple[str, ...]] = ("m", "v")

    learning_rate: float = positive(1e-3)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.999)
    epsilon: float = not_negative(1e-8)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """The decays, their complements and both bias corrections."""
        return {
            "rate": h.learning_rate / (1 - h.beta1 ** (k + 1)),
            "beta1": h.beta1,
            "rest1": 1 - h.beta1,
            "beta2": h.beta2,
            "rest2": 1 - h.beta2,
            "root": np.sqrt(1 - h.beta2 ** (k + 1)),
            "epsilon": h.epsilon,
        }

    @staticmethod
    def rule(
        gradient: Any,
        m: Any,
        v: Any,
        rate: Any,
        beta1: Any,
        rest1: Any,
        beta2: Any,
        rest2: Any,
        root: Any,
        epsilon: Any,
    ) -> Any:
        """One coordinate; `rate` is η / (1 − β₁ᵗ), `root` is √(1 − β₂ᵗ)."""
        m = beta1 * m + rest1 * gradient
        v = beta2 * v + rest2 * gradient * gradient
        return -rate * m / (sqrt(v) / root + epsilon), m, v
