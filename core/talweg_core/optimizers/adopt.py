"""Adam whose gradient is divided by the second moment before this gradient."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class ADOPT(CoordinateOptimizer):
    """n = clip(g / max(√v, ε), ± k^¼), m ← β₁ m + (1 − β₁) n, θ ← θ − η m, then v ← β₂ v + (1 − β₂) g².

    After k updates; the first update changes no parameter and sets v to g².
    learning_rate: η in (0, ∞). beta1, beta2: β₁, β₂ in [0, 1). epsilon: ε in (0, ∞).

    Source: Taniguchi et al. 2024, algorithm 2 with the clipping of its equation for c_t = t^¼. As in optax, since
    PyTorch has none: contrib.adopt(learning_rate, b1, b2, eps), whose defaults are these; it has none for η; here
    the authors'.
    """

    name: ClassVar[str] = "adopt"
    state: ClassVar[tuple[str, ...]] = ("m", "v")

    learning_rate: float = positive(1e-3)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.9999)
    epsilon: float = positive(1e-6)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """At the first update m stays 0 and v becomes g²."""
        first = k == 0
        return {
            "learning_rate": h.learning_rate,
            "limit": k**0.25,
            "beta1": h.beta1,
            "rest1": 1 - h.beta1,
            "beta2": np.where(first, 0.0, h.beta2),
            "rest2": np.where(first, 1.0, 1 - h.beta2),
            "epsilon": h.epsilon,
        }

    @staticmethod
    def rule(
        gradient: Any, m: Any, v: Any, learning_rate: Any, limit: Any, beta1: Any, rest1: Any, beta2: Any, rest2: Any,
        epsilon: Any,
    ) -> Any:  # fmt: skip
        """One coordinate."""
        normal = min(max(gradient / max(sqrt(v), epsilon), -limit), limit)
        m = beta1 * m + rest1 * normal
        v = beta2 * v + rest2 * gradient * gradient
        return -learning_rate * m, m, v
