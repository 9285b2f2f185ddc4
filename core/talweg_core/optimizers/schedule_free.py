"""Schedule-Free learning: averaging in place of a decaying rate. The parameters are y, the point of the gradients."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from talweg_core.layout import Array, Layout
from talweg_core.optimizers.base import (
    BoundOptimizer,
    Hyperparameters,
    Numbers,
    Situation,
    fraction,
    not_negative,
    positive,
    within,
)
from talweg_core.optimizers.coordinate import BoundCoordinates, CoordinateOptimizer


def averaging(h: Hyperparameters) -> dict[str, Numbers]:
    """c = ηmax² / Σ ηmax², with ηmax and the sum so far: steps of a warm-up have less weight in the average x."""
    greatest = np.maximum(h.greatest, h.learning_rate)
    total = h.total + greatest**2
    return {"greatest": greatest, "total": total, "c": greatest**2 / total}


@dataclass(frozen=True)
class ScheduleFreeSGD(CoordinateOptimizer):
    """z ← z − η (g(y) + λ y), x ← (1 − c) x + c z, y ← β₁ x + (1 − β₁) z, with c = ηmax² / Σ ηmax².

    The parameters are y, the point of cost and gradient; evaluations are at x = (y − (1 − β₁) z) / β₁, which the
    cohort's `evaluation_parameters` and `evaluate` use. At the start x = y = z.
    learning_rate: η in (0, ∞); use no schedule but a warm-up. beta1: β₁ in (0, 1). weight_decay: λ in [0, ∞),
    at y.

    Source: Defazio et al. 2024, "The road less scheduled", algorithm 1, in the form for SGD. As in optax, since
    PyTorch has none: contrib.schedule_free_sgd(learning_rate, b1, weight_decay), with weight_lr_power = 2.
    """

    name: ClassVar[str] = "schedule_free_sgd"
    state: ClassVar[tuple[str, ...]] = ("z",)
    numbers: ClassVar[dict[str, float]] = {"greatest": 0.0, "total": 0.0}

    learning_rate: float = positive(1.0)
    beta1: float = within(0.9, 0, 1, "()")
    weight_decay: float = not_negative(0.0)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs of P coordinates, with evaluations at x."""
        return _BoundScheduleFree(type(self), hyperparameters, layout.size, dtype)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """x is not stored: (1 − c) β₁ x = (1 − c)(y − (1 − β₁) z)."""
        average = averaging(h)
        return average | {
            "rate": h.learning_rate,
            "decay": h.weight_decay,
            "gain": 1 - h.beta1 * (1 - average["c"]),
        }

    @staticmethod
    def rule(gradient: Any, parameter: Any, z: Any, rate: Any, decay: Any, c: Any, gain: Any) -> Any:
        """One coordinate, y ← (1 − c)(y − (1 − β₁) z) + (1 − β₁ (1 − c)) z′, as a change of y."""
        after = z - rate * (gradient + decay * parameter)
        return c * (z - parameter) + gain * (after - z), after


@dataclass(frozen=True)
class ScheduleFreeAdamW(CoordinateOptimizer):
    """v ← β₂ v + (1 − β₂) g(y)², z ← z − η (g(y) / (√v̂ + ε) + λ y); x and y as in Schedule-Free SGD.

    learning_rate: η in (0, ∞). beta1: β₁ in (0, 1). beta2: β₂ in [0, 1). epsilon: ε in [0, ∞). weight_decay: λ in
    [0, ∞), at y.

    Source: Defazio et al. 2024, "The road less scheduled", algorithm 1, without its warm-up, which a schedule gives,
    and with √(1 − β₂ᵗ) next to √v as in Adam, where the paper has it inside η and so in decay and average too. As in
    optax, since PyTorch has none: contrib.schedule_free_adamw(learning_rate, b1, b2, eps, weight_decay).
    """

    name: ClassVar[str] = "schedule_free_adamw"
    state: ClassVar[tuple[str, ...]] = ("z", "v")
    numbers: ClassVar[dict[str, float]] = {"greatest": 0.0, "total": 0.0}

    learning_rate: float = positive(2.5e-3)
    beta1: float = within(0.9, 0, 1, "()")
    beta2: float = fraction(0.999)
    epsilon: float = not_negative(1e-8)
    weight_decay: float = not_negative(0.0)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs of P coordinates, with evaluations at x."""
        return _BoundScheduleFree(type(self), hyperparameters, layout.size, dtype)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """The scalars of Schedule-Free SGD, and those of the second moment."""
        return ScheduleFreeSGD.scalars(h, k) | {
            "beta2": h.beta2,
            "rest2": 1 - h.beta2,
            "root": np.sqrt(1 - h.beta2 ** (k + 1)),
            "epsilon": h.epsilon,
        }

    @staticmethod
    def rule(
        gradient: Any, parameter: Any, z: Any, v: Any, rate: Any, decay: Any, c: Any, gain: Any, beta2: Any,
        rest2: Any, root: Any, epsilon: Any,
    ) -> Any:  # fmt: skip
        """One coordinate, as a change of y."""
        v = beta2 * v + rest2 * gradient * gradient
        after = z - rate * (gradient / (sqrt(v) / root + epsilon) + decay * parameter)
        return c * (z - parameter) + gain * (after - z), after, v


class _BoundScheduleFree(BoundCoordinates):
    def __init__(self, kind: type[CoordinateOptimizer], h: Hyperparameters, size: int, dtype: np.dtype[Any]) -> None:
        super().__init__(kind, h, size, dtype)
        self._beta1 = h.beta1[:, None]

    def update(self, situation: Situation) -> None:
        # z starts at the parameters, which are not known before the first update.
        first = (situation.updates == 0) & situation.active
        if first.any():
            self.state["z"][first] = situation.parameters[first]
        super().update(situation)

    def evaluation_parameters(self, parameters: Array, updates: Numbers) -> Array:
        """x, or y before the first update."""
        z = self.state["z"].astype(np.float64)
        x = (parameters - (1 - self._beta1) * z) / self._beta1
        begun = (updates > 0)[:, None]
        return np.where(begun, x, parameters).astype(parameters.dtype)
