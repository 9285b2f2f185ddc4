"""Evolved sign momentum."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, not_negative, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class Lion(CoordinateOptimizer):
    """θ ← θ − η (sign(β₁ m + (1 − β₁) g) + λ θ), m ← β₂ m + (1 − β₂) g.

    learning_rate: η in (0, ∞), about a tenth of Adam's. beta1, beta2: β₁, β₂ in [0, 1). weight_decay: λ in [0, ∞),
    multiplied by η.

    Source: Chen et al. 2023, algorithm 2. optax: lion(learning_rate, b1, b2, weight_decay), whose λ is 1e-3 as here;
    PyTorch has none. The default η is the paper's.
    """

    name: ClassVar[str] = "lion"
    state: ClassVar[tuple[str, ...]] = ("m",)

    learning_rate: float = positive(1e-4)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.99)
    weight_decay: float = not_negative(1e-3)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """The hyperparameters, their complements and η λ."""
        return h.values | {
            "rest1": 1 - h.beta1,
            "rest2": 1 - h.beta2,
            "decay": h.learning_rate * h.weight_decay,
            "zero": np.zeros(h.runs),
        }

    @staticmethod
    def rule(
        gradient: Any, parameter: Any, m: Any, learning_rate: Any, beta1: Any, rest1: Any, beta2: Any, rest2: Any,
        decay: Any, zero: Any,
    ) -> Any:  # fmt: skip
        """One coordinate."""
        mixed = beta1 * m + rest1 * gradient
        step = learning_rate if mixed > zero else (-learning_rate if mixed < zero else zero)
        return -step - decay * parameter, beta2 * m + rest2 * gradient
