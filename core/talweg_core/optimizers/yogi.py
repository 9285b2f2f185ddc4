"""Adam whose second moment changes by a bounded amount at each update."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from talweg_core.optimizers.adam import Adam
from talweg_core.optimizers.base import Hyperparameters, Numbers, fraction, not_negative, positive
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class Yogi(CoordinateOptimizer):
    """m as in Adam, v ← v − (1 − β₂) sign(v − g²) g², θ ← θ − η m̂ / (√v̂ + ε).

    learning_rate: η in (0, ∞). beta1, beta2: β₁, β₂ in [0, 1). epsilon: ε in (0, ∞). initial_accumulator: the initial m
    and v, in [0, ∞).

    Source: Zaheer et al. 2018, algorithm 2, which starts m at 0 and corrects no bias. As in optax, since PyTorch
    has none: yogi(learning_rate, b1, b2, eps), which starts both at 1e-6. The default η is the paper's.
    """

    name: ClassVar[str] = "yogi"
    state: ClassVar[tuple[str, ...]] = ("m", "v")

    learning_rate: float = positive(1e-2)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.999)
    epsilon: float = positive(1e-3)
    initial_accumulator: float = not_negative(1e-6)

    @classmethod
    def initial_state(cls, name: str, h: Hyperparameters) -> float | Numbers:
        """The initial value of both moments."""
        return h.initial_accumulator

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """Adam's scalars, and 0 in the run's precision."""
        return Adam.scalars(h, k) | {"zero": np.zeros(h.runs)}

    @staticmethod
    def rule(
        gradient: Any, m: Any, v: Any, rate: Any, beta1: Any, rest1: Any, rest2: Any, root: Any, epsilon: Any,
        zero: Any,
    ) -> Any:  # fmt: skip
        """One coordinate."""
        m = beta1 * m + rest1 * gradient
        square = gradient * gradient
        change = rest2 * square
        v = v - (change if v > square else (-change if v < square else zero))
        return -rate * m / (sqrt(v) / root + epsilon), m, v
