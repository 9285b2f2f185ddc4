"""Adam with the maximum of all second moments, so that the denominator never shrinks."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

from talweg_core.optimizers.adam import Adam
from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, not_negative, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class AMSGrad(CoordinateOptimizer):
    """m and v as in Adam, w ← max(w, v), θ ← θ − η m̂ / (√ŵ + ε), with ŵ = w / (1 − β₂ᵗ).

    learning_rate: η in (0, ∞). beta1, beta2: β₁, β₂ in [0, 1). epsilon: ε in [0, ∞).

    Source: Reddi, Kale & Kumar 2018, algorithm 2, which corrects no bias; here corrected as in PyTorch:
    Adam(lr, betas, eps, amsgrad=True).
    """

    name: ClassVar[str] = "amsgrad"
    state: ClassVar[tuple[str, ...]] = ("m", "v", "w")

    learning_rate: float = positive(1e-3)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.999)
    epsilon: float = not_negative(1e-8)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """Adam's scalars."""
        return Adam.scalars(h, k)

    @staticmethod
    def rule(
        gradient: Any, m: Any, v: Any, w: Any, rate: Any, beta1: Any, rest1: Any, beta2: Any, rest2: Any, root: Any,
        epsilon: Any,
    ) -> Any:  # fmt: skip
        """One coordinate."""
        m = beta1 * m + rest1 * gradient
        v = beta2 * v + rest2 * gradient * gradient
        w = max(w, v)
        return -rate * m / (sqrt(w) / root + epsilon), m, v, w
