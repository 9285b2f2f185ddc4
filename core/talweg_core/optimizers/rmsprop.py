"""Gradient descent divided by a running root mean square of the gradient."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from talweg_core.layout import Layout
from talweg_core.optimizers.base import (
    BoundOptimizer,
    Hyperparameters,
    Numbers,
    flag,
    fraction,
    not_negative,
    positive,
)
from talweg_core.optimizers.coordinate import BoundCoordinates, CoordinateOptimizer


@dataclass(frozen=True)
class RMSProp(CoordinateOptimizer):
    """v ← ρ v + (1 − ρ) g², b ← μ b + g / (√v + ε), θ ← θ − η b.

    Centred: a ← ρ a + (1 − ρ) g, and √(v − a²) replaces √v.
    learning_rate: η in (0, ∞). rho: ρ in [0, 1). epsilon: ε in [0, ∞), outside the root. momentum: μ in [0, 1).
    centred: whether a² is subtracted.

    Source: Tieleman & Hinton 2012, lecture 6.5 of "Neural networks for machine learning"; centred: Graves 2013,
    equations 38 to 41. PyTorch: RMSprop(lr, alpha=rho, eps, momentum, centered=centred), whose default ρ is 0.99 as
    here; the lecture says 0.9. PyTorch's variance may round below 0 and give NaN; here it counts as 0.
    """

    name: ClassVar[str] = "rmsprop"
    state: ClassVar[tuple[str, ...]] = ("v", "velocity")
    memory: ClassVar[str] = "2 P, 3 P centred"

    learning_rate: float = positive(1e-2)
    rho: float = fraction(0.99)
    epsilon: float = not_negative(1e-8)
    momentum: float = fraction(0.0)
    centred: bool = flag(False)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs of P coordinates; the centred rule has one more state."""
        kind = _Centred if self.centred else RMSProp
        return BoundCoordinates(kind, hyperparameters, layout.size, dtype)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """The hyperparameters, 1 − ρ, and 0 in the run's precision."""
        return h.values | {"rest": 1 - h.rho, "zero": np.zeros(h.runs)}

    @staticmethod
    def rule(
        gradient: Any, v: Any, velocity: Any, learning_rate: Any, rho: Any, rest: Any, epsilon: Any, momentum: Any
    ) -> Any:
        """One coordinate."""
        v = rho * v + rest * gradient * gradient
        velocity = momentum * velocity + gradient / (sqrt(v) + epsilon)
        return -learning_rate * velocity, v, velocity


@dataclass(frozen=True)
class _Centred(CoordinateOptimizer):
    name: ClassVar[str] = "rmsprop-centred"
    state: ClassVar[tuple[str, ...]] = ("v", "velocity", "mean")
    scalars = staticmethod(RMSProp.scalars)

    @staticmethod
    def rule(
        gradient: Any, v: Any, velocity: Any, mean: Any, learning_rate: Any, rho: Any, rest: Any, epsilon: Any,
        momentum: Any, zero: Any,
    ) -> Any:  # fmt: skip
        v = rho * v + rest * gradient * gradient
        mean = rho * mean + rest * gradient
        spread = sqrt(max(v - mean * mean, zero))
        velocity = momentum * velocity + gradient / (spread + epsilon)
        return -learning_rate * velocity, v, velocity, mean
