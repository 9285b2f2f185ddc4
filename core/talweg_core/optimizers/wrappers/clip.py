"""Gradients bounded before the rule sees them."""

from collections.abc import Callable
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
    positive,
)
from talweg_core.optimizers.norms import row_norms
from talweg_core.optimizers.wrappers.bound import Seen, Wrapped


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
        limit = hyperparameters.limit[:, None].astype(dtype)
        return _BoundClip(inner, lambda gradient: np.clip(gradient, -limit, limit))


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

        def clip(gradient: Array) -> Array:
            factor = np.minimum(1.0, hyperparameters.limit / (row_norms(gradient) + 1e-6))
            return gradient * factor[:, None].astype(gradient.dtype)

        return _BoundClip(inner, clip)


class _BoundClip(Wrapped):
    def __init__(self, inner: BoundOptimizer, clip: Callable[[Array], Array]) -> None:
        super().__init__(inner)
        self._clip = clip

    def update(self, situation: Situation) -> None:
        seen = _Clipped(situation.evaluations, self._clip)
        self.inner.update(replace(situation, gradient=self._clip(situation.gradient), evaluations=seen))


class _Clipped(Seen):
    def __init__(self, outside: Evaluations, clip: Callable[[Array], Array]) -> None:
        super().__init__(outside)
        self._clip = clip

    def gradient(self, points: Array, rows: Flags) -> tuple[Numbers, Array]:
        costs, gradient = self.outside.gradient(points, rows)
        return costs, self._clip(gradient)
