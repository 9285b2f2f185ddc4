"""Gradients bounded before the rule sees them."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.layout import Layout
from talweg_core.optimizers.around.bound import Wrapped, with_gradient
from talweg_core.optimizers.base import Around, BoundOptimizer, Hyperparameters, Numbers, Situation, positive
from talweg_core.optimizers.norms import row_norms


@dataclass(frozen=True)
class ClipValue(Around):
    """Each derivative within ± limit. PyTorch: clip_grad_value_.

    limit: in (0, ∞).
    """

    name: ClassVar[str] = "clip_value"
    limit: float = positive(1.0)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Around `inner`."""
        return _BoundClipValue(inner, hyperparameters.limit[:, None].astype(dtype))


class _BoundClipValue(Wrapped):
    def __init__(self, inner: BoundOptimizer, limit: Any) -> None:
        super().__init__(inner)
        self._limit = limit

    def update(self, situation: Situation) -> None:
        self.inner.update(with_gradient(situation, np.clip(situation.gradient, -self._limit, self._limit)))


@dataclass(frozen=True)
class ClipNorm(Around):
    """The whole gradient times min(1, limit / (|g| + 1e-6)), with its Euclidean norm. PyTorch: clip_grad_norm_.

    limit: in (0, ∞).
    """

    name: ClassVar[str] = "clip_norm"
    limit: float = positive(1.0)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Around `inner`."""
        return _BoundClipNorm(inner, hyperparameters.limit)


class _BoundClipNorm(Wrapped):
    def __init__(self, inner: BoundOptimizer, limit: Numbers) -> None:
        super().__init__(inner)
        self._limit = limit

    def update(self, situation: Situation) -> None:
        g = situation.gradient
        factor = np.minimum(1.0, self._limit / (row_norms(g) + 1e-6))
        self.inner.update(with_gradient(situation, g * factor[:, None].astype(g.dtype)))
