"""Updates scaled by the size of earlier updates, so that their unit is that of the parameters."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class AdaDelta(CoordinateOptimizer):
    """v ← ρ v + (1 − ρ) g², Δ = √(u + ε) / √(v + ε) · g, u ← ρ u + (1 − ρ) Δ², θ ← θ − η Δ.

    learning_rate: η in (0, ∞), 1 in the paper. rho: ρ in [0, 1). epsilon: ε in (0, ∞), inside the roots.

    Source: Zeiler 2012, algorithm 1. PyTorch: Adadelta(lr, rho, eps), whose defaults are these.
    """

    name: ClassVar[str] = "adadelta"
    state: ClassVar[tuple[str, ...]] = ("v", "u")

    learning_rate: float = positive(1.0)
    rho: float = fraction(0.9)
    epsilon: float = positive(1e-6)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """The hyperparameters and 1 − ρ."""
        return h.values | {"rest": 1 - h.rho}

    @staticmethod
    def rule(gradient: Any, v: Any, u: Any, learning_rate: Any, rho: Any, rest: Any, epsilon: Any) -> Any:
        """One coordinate."""
        v = rho * v + rest * gradient * gradient
        change = sqrt((u + epsilon) / (v + epsilon)) * gradient
        u = rho * u + rest * change * change
        return -learning_rate * change, v, u
