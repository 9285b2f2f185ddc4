"""Gradient descent divided by the root of the sum of all squared gradients."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

from talweg_core.optimizers.base import Hyperparameters, Numbers, not_negative, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class AdaGrad(CoordinateOptimizer):
    """s ← s + g², θ ← θ − η / (1 + k δ) · g / (√s + ε), after k updates.

    learning_rate: η in (0, ∞). learning_rate_decay: δ in [0, ∞). initial_accumulator: the initial s, in [0, ∞).
    epsilon: ε in [0, ∞), outside the root.

    Source: Duchi, Hazan & Singer 2011, figure 1, diagonal matrices. PyTorch: Adagrad(lr, lr_decay,
    initial_accumulator_value, eps).
    """

    name: ClassVar[str] = "adagrad"
    state: ClassVar[tuple[str, ...]] = ("total",)

    learning_rate: float = positive(1e-2)
    learning_rate_decay: float = not_negative(0.0)
    initial_accumulator: float = not_negative(0.0)
    epsilon: float = not_negative(1e-10)

    @classmethod
    def initial_state(cls, name: str, h: Hyperparameters) -> float | Numbers:
        """The sum starts at `initial_accumulator`."""
        return h.initial_accumulator

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """The decayed learning rate, and ε."""
        return {"rate": h.learning_rate / (1 + k * h.learning_rate_decay), "epsilon": h.epsilon}

    @staticmethod
    def rule(gradient: Any, total: Any, rate: Any, epsilon: Any) -> Any:
        """One coordinate."""
        total = total + gradient * gradient
        return -rate * gradient / (sqrt(total) + epsilon), total
