"""An exponential average of the parameters, for evaluation."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.layout import Array, Layout
from talweg_core.optimizers.base import Around, BoundOptimizer, Hyperparameters, Numbers, Situation, fraction
from talweg_core.optimizers.wrappers.bound import Wrapped


@dataclass(frozen=True)
class Average(Around):
    """a ← δ a + (1 − δ) θ after each update, from a = θ after the first; the run is evaluated at a, and moves at θ.

    decay: δ in [0, 1).

    Source: Polyak & Juditsky 1992, with exponential weights. PyTorch: AveragedModel with get_ema_multi_avg_fn(decay).
    """

    name: ClassVar[str] = "average"
    decay: float = fraction(0.999)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Around `inner`."""
        return _BoundAverage(inner, hyperparameters.decay[:, None], layout.size, dtype)


class _BoundAverage(Wrapped):
    def __init__(self, inner: BoundOptimizer, decay: Numbers, size: int, dtype: np.dtype[Any]) -> None:
        super().__init__(inner)
        self._decay, self._rest = decay.astype(dtype), (1 - decay).astype(dtype)
        self._average = np.zeros((len(decay), size), dtype)
        self.keep("average", self._average)

    def update(self, situation: Situation) -> None:
        self.inner.update(situation)
        point = self.inner.evaluation_parameters(situation.parameters, situation.updates + 1)
        mixed = self._decay * self._average + self._rest * point
        first = (situation.updates == 0)[:, None]
        np.copyto(self._average, np.where(first, point, mixed), where=situation.active[:, None])

    def evaluation_parameters(self, parameters: Array, updates: Numbers) -> Array:
        """The average, or the parameters where no update has been made."""
        return np.where((updates > 0)[:, None], self._average, parameters)
