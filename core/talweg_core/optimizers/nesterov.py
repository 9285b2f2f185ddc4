"""Nesterov's accelerated gradient, in the form that needs the gradient at θ alone."""

from dataclasses import dataclass
from typing import Any, ClassVar

from talweg_core.optimizers.base import fraction, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class Nesterov(CoordinateOptimizer):
    """v ← μ v + g, θ ← θ − η (g + μ v).

    learning_rate: η in (0, ∞). momentum: μ in [0, 1).

    Source: Nesterov 1983; Sutskever et al. 2013, equations 3 and 4, rewritten about the look-ahead point as by
    Bengio, Boulanger-Lewandowski & Pascanu 2013, equation 7. PyTorch: SGD(lr, momentum, nesterov=True).
    """

    name: ClassVar[str] = "nesterov"
    state: ClassVar[tuple[str, ...]] = ("velocity",)

    learning_rate: float = positive(1e-3)
    momentum: float = fraction(0.9)

    @staticmethod
    def rule(gradient: Any, velocity: Any, learning_rate: Any, momentum: Any) -> Any:
        """One coordinate."""
        velocity = momentum * velocity + gradient
        return -learning_rate * (gradient + momentum * velocity), velocity
