"""Stochastic gradient descent."""

from dataclasses import dataclass
from typing import Any, ClassVar

from talweg_core.optimizers.base import positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class SGD(CoordinateOptimizer):
    """θ ← θ − η g.

    learning_rate: η in (0, ∞).

    Source: Robbins & Monro 1951. PyTorch: SGD(lr).
    """

    name: ClassVar[str] = "sgd"

    learning_rate: float = positive(1e-3)

    @staticmethod
    def rule(gradient: Any, learning_rate: Any) -> Any:
        """One coordinate."""
        return (-learning_rate * gradient,)
