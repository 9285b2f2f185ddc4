"""Adam divided by the deviation of the gradient from its mean, in place of the gradient's size."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

from talweg_core.optimizers.adam import Adam
from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, not_negative, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class AdaBelief(CoordinateOptimizer):
    """m as in Adam, s ← β₂ s + (1 − β₂)(g − m)² + ε_root, θ ← θ − η m̂ / (√ŝ + ε).

    learning_rate: η in (0, ∞). beta1, beta2: β₁, β₂ in [0, 1). epsilon, epsilon_root: ε, ε_root in [0, ∞).

    Source: Zhuang et al. 2020, algorithm 2, where both ε are the same number. optax: adabelief(learning_rate, b1, b2,
    eps, eps_root); PyTorch has none. The default η is the paper's.
    """

    name: ClassVar[str] = "adabelief"
    state: ClassVar[tuple[str, ...]] = ("m", "s")

    learning_rate: float = positive(1e-3)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.999)
    epsilon: float = not_negative(1e-16)
    epsilon_root: float = not_negative(1e-16)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """Adam's scalars, and ε_root."""
        return Adam.scalars(h, k) | {"epsilon_root": h.epsilon_root}

    @staticmethod
    def rule(
        gradient: Any, m: Any, s: Any, rate: Any, beta1: Any, rest1: Any, beta2: Any, rest2: Any, root: Any,
        epsilon: Any, epsilon_root: Any,
    ) -> Any:  # fmt: skip
        """One coordinate."""
        m = beta1 * m + rest1 * gradient
        deviation = gradient - m
        s = beta2 * s + rest2 * deviation * deviation + epsilon_root
        return -rate * m / (sqrt(s) / root + epsilon), m, s
