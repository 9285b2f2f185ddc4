"""Adam with the infinity norm."""

from dataclasses import dataclass
from typing import Any, ClassVar

from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class AdaMax(CoordinateOptimizer):
    """m ← β₁ m + (1 − β₁) g, u ← max(β₂ u, |g| + ε), θ ← θ − η / (1 − β₁ᵗ) · m / u.

    learning_rate: η in (0, ∞). beta1, beta2: β₁, β₂ in [0, 1). epsilon: ε in (0, ∞).

    Source: Kingma & Ba 2015, algorithm 2, with ε inside the maximum as in PyTorch: Adamax(lr, betas, eps).
    """

    name: ClassVar[str] = "adamax"
    state: ClassVar[tuple[str, ...]] = ("m", "u")

    learning_rate: float = positive(2e-3)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.999)
    epsilon: float = positive(1e-8)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """The corrected learning rate, the decays and 1 − β₁."""
        return {
            "rate": h.learning_rate / (1 - h.beta1 ** (k + 1)),
            "beta1": h.beta1,
            "rest1": 1 - h.beta1,
            "beta2": h.beta2,
            "epsilon": h.epsilon,
        }

    @staticmethod
    def rule(gradient: Any, m: Any, u: Any, rate: Any, beta1: Any, rest1: Any, beta2: Any, epsilon: Any) -> Any:
        """One coordinate."""
        m = beta1 * m + rest1 * gradient
        u = max(beta2 * u, abs(gradient) + epsilon)
        return -rate * m / u, m, u
