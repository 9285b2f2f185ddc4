"""Sharpness-aware minimisation: the gradient at the nearby point of highest cost."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.layout import Layout
from talweg_core.optimizers.base import (
    BoundOptimizer,
    Hyperparameters,
    Needs,
    Numbers,
    Optimizer,
    fraction,
    not_negative,
    positive,
)
from talweg_core.optimizers.coordinate import BoundCoordinates, CoordinateOptimizer
from talweg_core.optimizers.momentum import Momentum
from talweg_core.optimizers.wrappers import Sharpness


@dataclass(frozen=True)
class SAM(Optimizer):
    """ĝ = g(θ + ρ g / |g|) on the same batch, v ← μ v + ĝ, θ ← θ − η v: momentum with the uphill gradient.

    As a wrapper around another rule: {"name": "adam", …, "around": [{"name": "sam", "rho": 0.05}]}. Cost and gradient
    are recorded at θ; the second gradient is counted, not recorded. Where the gradient is 0, the point is θ.
    learning_rate: η in (0, ∞). momentum: μ in [0, 1). rho: ρ in [0, ∞).

    Source: Foret et al. 2021, algorithm 1, with momentum gradient descent as in its experiments. PyTorch has none;
    optax: contrib.sam(sgd(learning_rate, momentum), normalize() with sgd(rho), sync_period=2, opaque_mode=True).
    """

    name: ClassVar[str] = "sam"
    needs: ClassVar[Needs] = "evaluations"
    state: ClassVar[tuple[str, ...]] = ("velocity",)
    evaluations: ClassVar[str] = "2 gradients"

    learning_rate: float = positive(1e-3)
    momentum: float = fraction(0.9)
    rho: float = not_negative(0.05)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Momentum inside the wrapper Sharpness."""
        return Sharpness.wrap(BoundCoordinates(_Undamped, hyperparameters, layout.size, dtype), hyperparameters.rho)


@dataclass(frozen=True)
class _Undamped(CoordinateOptimizer):
    name: ClassVar[str] = "sam-momentum"
    state: ClassVar[tuple[str, ...]] = Momentum.state
    rule = staticmethod(Momentum.rule)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        return {"learning_rate": h.learning_rate, "momentum": h.momentum, "weight": np.ones(h.runs)}
