"""Momentum over a clipped estimate of the Hessian's diagonal."""

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
    Situation,
    fraction,
    not_negative,
    positive,
    whole,
)
from talweg_core.optimizers.coordinate import BoundCoordinates, CoordinateOptimizer


@dataclass(frozen=True)
class SophiaH(Optimizer):
    """m ← β₁ m + (1 − β₁) g, θ ← θ − η (clip(m̂ / max(γ h, ε), ± c) + λ θ); then h ← β₂ h + (1 − β₂) u ⊙ H u.

    h is updated at every n-th update, the first included, after it is used, with random signs u = ±1 from (seed,
    "probe", step); H u is the Hessian-vector product on the step's batch.
    learning_rate: η in (0, ∞). beta1, beta2: β₁, β₂ in [0, 1). gamma: γ in (0, ∞). epsilon: ε in (0, ∞). clip: c in
    (0, ∞). weight_decay: λ in [0, ∞), multiplied by η. every: n.

    Source: Liu et al. 2023, algorithm 3 with the Hutchinson estimator of its algorithm 1, which draws u from the
    normal distribution and updates h before it is used. As in optax, since PyTorch has none: contrib.sophia(
    learning_rate, b1, b2, eps, weight_decay, gamma, clip_threshold, update_interval), with random signs. The Hessian
    product is a central difference of the gradient in float64: see talweg_core.evaluations for its error. optax has no
    default η; here Adam's.
    """

    name: ClassVar[str] = "sophia"
    needs: ClassVar[Needs] = "evaluations"
    state: ClassVar[tuple[str, ...]] = ("m", "h")
    evaluations: ClassVar[str] = "1 gradient, and 1 Hessian product at every n-th step"

    learning_rate: float = positive(1e-3)
    beta1: float = fraction(0.965)
    beta2: float = fraction(0.99)
    gamma: float = positive(0.01)
    epsilon: float = positive(1e-8)
    clip: float = positive(1.0)
    weight_decay: float = not_negative(1e-4)
    every: float = whole(10)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs of P coordinates."""
        return _BoundSophia(hyperparameters, layout, dtype)


@dataclass(frozen=True)
class _Descent(CoordinateOptimizer):
    """The update of one coordinate, given h."""

    name: ClassVar[str] = "sophia-descent"
    state: ClassVar[tuple[str, ...]] = ("m", "h")

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        return h.values | {
            "rest1": 1 - h.beta1,
            "left": 1 / (1 - h.beta1 ** (k + 1)),
            "decay": h.learning_rate * h.weight_decay,
        }

    @staticmethod
    def rule(
        gradient: Any, parameter: Any, m: Any, h: Any, learning_rate: Any, beta1: Any, rest1: Any, left: Any,
        gamma: Any, epsilon: Any, clip: Any, decay: Any,
    ) -> Any:  # fmt: skip
        m = beta1 * m + rest1 * gradient
        step = min(max(left * m / max(gamma * h, epsilon), -clip), clip)
        return -learning_rate * step - decay * parameter, m, h


class _BoundSophia(BoundOptimizer):
    def __init__(self, h: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> None:
        self._descent = BoundCoordinates(_Descent, h, layout.size, dtype)
        self.state = self._descent.state

    def update(self, situation: Situation) -> None:
        h = situation.hyperparameters
        due = situation.active & (situation.updates % h.every == 0)
        if due.any():
            # The product is at the parameters before the update, and changes h after it.
            signs = np.ones_like(situation.parameters)
            for r in np.flatnonzero(due):
                signs[r] = situation.evaluations.probe(int(r)).choice([-1.0, 1.0], signs.shape[1])
            curvature = signs * situation.evaluations.hessian_product(signs, due)
        self._descent.update(situation)
        if due.any():
            beta2 = h.beta2[:, None].astype(signs.dtype)
            rest2 = (1 - h.beta2)[:, None].astype(signs.dtype)
            held = self.state["h"]
            np.copyto(held, beta2 * held + rest2 * curvature, where=due[:, None])
