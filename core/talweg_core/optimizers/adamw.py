"""Adam with decoupled weight decay."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

from talweg_core.optimizers.adam import Adam
from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, not_negative, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class AdamW(CoordinateOptimizer):
    """θ ← θ − η λ θ − η m̂ / (√v̂ + ε), with m̂ and v̂ as in Adam.

    learning_rate: η in (0, ∞). beta1, beta2: β₁, β₂ in [0, 1). epsilon: ε in [0, ∞). weight_decay: λ in [0, ∞),
    multiplied by η.

    Source: Loshchilov & Hutter 2019, algorithm 2, with the schedule's factor inside η. PyTorch:
    AdamW(lr, betas, eps, weight_decay), whose default λ is 0.01 as here.
    """

    name: ClassVar[str] = "adamw"
    state: ClassVar[tuple[str, ...]] = ("m", "v")

    learning_rate: float = positive(1e-3)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.999)
    epsilon: float = not_negative(1e-8)
    weight_decay: float = not_negative(1e-2)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """Adam's scalars, and η λ."""
        return Adam.scalars(h, k) | {"decay": h.learning_rate * h.weight_decay}

    @staticmethod
    def rule(
        gradient: Any, parameter: Any, m: Any, v: Any, rate: Any, beta1: Any, rest1: Any, beta2: Any, rest2: Any,
        root: Any, epsilon: Any, decay: Any,
    ) -> Any:  # fmt: skip
        """One coordinate; as Adam's, and minus η λ θ."""
        m = beta1 * m + rest1 * gradient
        v = beta2 * v + rest2 * gradient * gradient
        return -rate * m / (sqrt(v) / root + epsilon) - decay * parameter, m, v
