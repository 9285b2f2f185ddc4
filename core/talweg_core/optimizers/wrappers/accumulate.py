"""Several batches to one update."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from talweg_core.layout import Array, Layout
from talweg_core.optimizers.base import Around, BoundOptimizer, Hyperparameters, Numbers, Situation, whole
from talweg_core.optimizers.wrappers.bound import Wrapped


@dataclass(frozen=True)
class Accumulate(Around):
    """The mean of n steps' gradients, handed to the rule at every n-th step; between, nothing moves.

    The rule counts its own updates, the schedule counts steps. What the rule evaluates elsewhere (SAM, Sophia) is on
    the last of the n batches: write SAM before this to have its gradient accumulated. steps: n, a whole number from 1.
    optax: MultiSteps(every_k_schedule).
    """

    name: ClassVar[str] = "accumulate"
    steps: float = whole(2)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Around `inner`."""
        return _BoundAccumulate(inner, hyperparameters.steps, layout.size, dtype)


class _BoundAccumulate(Wrapped):
    def __init__(self, inner: BoundOptimizer, steps: Numbers, size: int, dtype: np.dtype[Any]) -> None:
        super().__init__(inner)
        self._steps = steps
        self._total = np.zeros((len(steps), size), dtype)
        self.keep("accumulated", self._total)

    def update(self, situation: Situation) -> None:
        active = situation.active
        np.add(self._total, situation.gradient, out=self._total, where=active[:, None])
        due = active & ((situation.updates + 1) % self._steps == 0)
        if due.any():
            mean = self._total / self._steps[:, None].astype(self._total.dtype)
            updates = situation.updates // self._steps
            self.inner.update(replace(situation, gradient=mean, updates=updates, active=due))
            self._total[due] = 0

    def evaluation_parameters(self, parameters: Array, updates: Numbers) -> Array:
        """The rule's, which has made fewer updates."""
        return self.inner.evaluation_parameters(parameters, updates // self._steps)
