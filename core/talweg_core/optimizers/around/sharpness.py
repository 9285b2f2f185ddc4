"""The gradient from the worst point near by."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.layout import Layout
from talweg_core.optimizers.around.bound import Wrapped, with_gradient
from talweg_core.optimizers.base import Around, BoundOptimizer, Hyperparameters, Numbers, Situation, not_negative
from talweg_core.optimizers.norms import row_norms


@dataclass(frozen=True)
class Sharpness(Around):
    """The rule is given g(θ + ρ g / |g|), on the same batch; at a gradient of 0 that is g(θ).

    rho: ρ in [0, ∞).

    Source: Foret et al. 2021, "Sharpness-aware minimization", algorithm 1.
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
        g = situation.gradient
        lengths = row_norms(g)
        reach = self._rho / np.where(lengths > 0, lengths, 1.0)
        points = situation.parameters + reach[:, None].astype(g.dtype) * g
        _, uphill = situation.evaluations.gradient(points, situation.active)
        self.inner.update(with_gradient(situation, uphill))
