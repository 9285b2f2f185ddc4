"""Adam with a second, much slower average of the gradient."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from talweg_core.optimizers.adam import Adam
from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, not_negative, positive, whole
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class AdEMAMix(CoordinateOptimizer):
    """m and v as in Adam, s ← β₃ s + (1 − β₃) g, θ ← θ − η ((m̂ + α s) / (√v̂ + ε) + λ θ).

    With warm-up of T steps, after k updates with x = min(k / T, 1): x α replaces α, and β replaces β₃, from β₁ to
    β₃ evenly in the logarithm of the half-life: ln β = ln β₁ ln β₃ / ((1 − x) ln β₃ + x ln β₁).
    learning_rate: η in (0, ∞). beta1, beta2, beta3 in [0, 1). alpha: α in [0, ∞). epsilon: ε in [0, ∞).
    weight_decay: λ in [0, ∞), multiplied by η. warmup_steps: T, a whole number from 0 (none).

    Source: Pagliardini, Ablin & Grangier 2024, algorithm 1 and equations for f_α, f_β₃. As in optax, since PyTorch
    has none: contrib.ademamix(learning_rate, b1, b2, b3, alpha, eps, weight_decay), where α and b3 may be schedules;
    it has no default η; here Adam's.
    """

    name: ClassVar[str] = "ademamix"
    state: ClassVar[tuple[str, ...]] = ("m", "slow", "v")

    learning_rate: float = positive(1e-3)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.999)
    beta3: float = fraction(0.9999)
    alpha: float = not_negative(5.0)
    epsilon: float = not_negative(1e-8)
    weight_decay: float = not_negative(0.0)
    warmup_steps: float = whole(0, low=0)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """Adam's scalars, and the slow average's decay and weight at this step."""
        x = np.minimum(k / np.maximum(h.warmup_steps, 1), 1.0)
        x = np.where(h.warmup_steps > 0, x, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            first, last = np.log(h.beta1), np.log(h.beta3)
            warm = np.exp(first * last / ((1 - x) * last + x * first))
        beta3 = np.where((x < 1) & (h.beta1 > 0) & (h.beta3 > 0), np.minimum(warm, h.beta3), h.beta3)
        return Adam.scalars(h, k) | {
            "beta3": beta3,
            "rest3": 1 - beta3,
            "slow_rate": h.learning_rate * h.alpha * x,
            "decay": h.learning_rate * h.weight_decay,
        }

    @staticmethod
    def rule(
        gradient: Any, parameter: Any, m: Any, slow: Any, v: Any, rate: Any, slow_rate: Any, beta1: Any, rest1: Any,
        beta2: Any, rest2: Any, beta3: Any, rest3: Any, root: Any, epsilon: Any, decay: Any,
    ) -> Any:  # fmt: skip
        """One coordinate."""
        m = beta1 * m + rest1 * gradient
        slow = beta3 * slow + rest3 * gradient
        v = beta2 * v + rest2 * gradient * gradient
        return -(rate * m + slow_rate * slow) / (sqrt(v) / root + epsilon) - decay * parameter, m, slow, v
