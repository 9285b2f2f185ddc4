"""Gradient descent divided by a running size of the gradient."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, not_negative, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class RMSProp(CoordinateOptimizer):
    """v ← ρ v + (1 − ρ) g², θ ← θ − η g / (√v + ε).

    learning_rate: η in (0, ∞). rho: ρ in [0, 1). epsilon: ε in [0, ∞), added outside the root.

    Source: Tieleman & Hinton 2012, lecture 6.5 of "Neural networks for machine learning". PyTorch:
    RMSprop(lr, alpha=rho, eps), whose default ρ is 0.99 as here; the lecture says 0.9.
    """

    name: ClassVar[str] = "rmsprop"
    state: ClassVar[tuple[str, ...]] = ("v",)

    learning_rate: float = positive(1e-2)
    rho: float = fraction(0.99)
    epsilon: float = not_negative(1e-8)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """With the complement of ρ."""
        return h.values | {"rest": 1 - h.rho}

    @staticmethod
    def rule(gradient: Any, v: Any, learning_rate: Any, rho: Any, rest: Any, epsilon: Any) -> Any:
        """One coordinate."""
        v = rho * v + rest * gradient * gradient
        return -learning_rate * gradient / (sqrt(v) + epsilon), v
