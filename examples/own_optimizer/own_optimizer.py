"""An optimizer in a package of its own: hyperparameters with ranges, state, and the rule for one coordinate."""

from dataclasses import dataclass
from typing import Any, ClassVar

from talweg_core.optimizers import CoordinateOptimizer, Hyperparameters
from talweg_core.optimizers.base import Numbers, fraction, positive


@dataclass(frozen=True)
class Signum(CoordinateOptimizer):
    """m ← β₁ m + (1 − β₁) g, θ ← θ − η sign(m).

    learning_rate: η in (0, ∞). beta1: β₁ in [0, 1).

    Source: Bernstein et al. 2018, "signSGD: compressed optimisation for non-convex problems", algorithm 2.
    """

    name: ClassVar[str] = "signum"
    state: ClassVar[tuple[str, ...]] = ("m",)

    learning_rate: float = positive(1e-3)
    beta1: float = fraction(0.9)

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """Constants in the run's precision: a literal in `rule` would make it float64."""
        return h.values | {"rest1": 1 - h.beta1, "zero": 0 * h.beta1}

    @staticmethod
    def rule(gradient: Any, m: Any, learning_rate: Any, beta1: Any, rest1: Any, zero: Any) -> Any:
        """The update and new state of one coordinate. Numba compiles it over all runs and coordinates."""
        m = beta1 * m + rest1 * gradient
        update = -learning_rate if m > zero else (learning_rate if m < zero else zero)
        return update, m
