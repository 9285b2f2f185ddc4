"""Gradient descent with Polyak's heavy ball."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class Momentum(CoordinateOptimizer):
    """v ← μ v + (1 − τ) g, θ ← θ − η v; at the first update v ← g.

    learning_rate: η in (0, ∞). momentum: μ in [0, 1). dampening: τ in [0, 1).

    Source: Polyak 1964, equation 9, in the form of Sutskever et al. 2013 without their η inside v; PyTorch:
    SGD(lr, momentum, dampening), whose first step ignores the dampening as here.
    """

    name: ClassVar[str] = "momentum"
    state: ClassVar[tuple[str, ...]] = ("velocity",)

    learning_rate: float = positive(1e-3)
    momentum: float = fraction(0.9)
    dampening: float = fraction(0.0)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """The gradient's weight is 1 at the first update, then 1 − τ."""
        return {
            "learning_rate": h.learning_rate,
            "momentum": h.momentum,
            "weight": np.where(k == 0, 1.0, 1 - h.dampening),
        }

    @staticmethod
    def rule(gradient: Any, velocity: Any, learning_rate: Any, momentum: Any, weight: Any) -> Any:
        """One coordinate."""
        velocity = momentum * velocity + weight * gradient
        return -learning_rate * velocity, velocity
