"""The gradient from the worst point near by."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from talweg_core.layout import Array, Layout
from talweg_core.optimizers.base import (
    Around,
    BoundOptimizer,
    Evaluations,
    Flags,
    Hyperparameters,
    Numbers,
    Situation,
    not_negative,
)
from talweg_core.optimizers.norms import row_norms
from talweg_core.optimizers.wrappers.bound import Seen, Wrapped


@dataclass(frozen=True)
class Sharpness(Around):
    """The rule is given g(θ + ρ g / |g|), on the same batch; at a gradient of 0 that is g(θ).

    A rule that searches along a line searches along C(θ + ρ g / |g|), two gradients a trial. rho: ρ in [0, ∞).

    Source: Foret et al. 2021, "Sharpness-aware minimization", algorithm 1. optax: contrib.sam with opaque_mode.
    """

    name: ClassVar[str] = "sam"
    rho: float = not_negative(0.05)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Around `inner`."""
        return self.around(inner, hyperparameters.rho)

    @staticmethod
    def around(inner: BoundOptimizer, rho: Numbers) -> BoundOptimizer:
        """Around `inner`, with ρ (R,)."""
        return _BoundSharpness(inner, rho)


class _BoundSharpness(Wrapped):
    def __init__(self, inner: BoundOptimizer, rho: Numbers) -> None:
        super().__init__(inner)
        self._rho = rho

    def update(self, situation: Situation) -> None:
        seen = _Uphill(situation.evaluations, self._rho)
        costs, uphill = seen.from_uphill(situation.parameters, situation.gradient, situation.active)
        self.inner.update(replace(situation, costs=costs, gradient=uphill, evaluations=seen))


class _Uphill(Seen):
    def __init__(self, outside: Evaluations, rho: Numbers) -> None:
        super().__init__(outside)
        self._rho = rho

    def from_uphill(self, points: Array, gradient: Array, rows: Flags) -> tuple[Numbers, Array]:
        """Cost (R,) and gradient (R, P) at θ + ρ g / |g|, with the gradient g (R, P) at points θ (R, P)."""
        lengths = row_norms(gradient)
        reach = self._rho / np.where(lengths > 0, lengths, 1.0)
        return self.outside.gradient(points + reach[:, None].astype(gradient.dtype) * gradient, rows)

    def costs(self, points: Array, rows: Flags) -> Numbers:
        return self.gradient(points, rows)[0]

    def gradient(self, points: Array, rows: Flags) -> tuple[Numbers, Array]:
        _, gradient = self.outside.gradient(points, rows)
        return self.from_uphill(points, gradient, rows)
