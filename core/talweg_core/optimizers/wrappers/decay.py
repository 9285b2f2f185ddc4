"""Parameters drawn towards 0, through the gradient or past it."""

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
    flag,
    not_negative,
)
from talweg_core.optimizers.norms import row_dots
from talweg_core.optimizers.wrappers.bound import Seen, Wrapped


@dataclass(frozen=True)
class L2(Around):
    """g ← g + λ θ, the derivative of ½ λ |θ|² added to the cost's. PyTorch: weight_decay of SGD and Adam.

    A rule that looks at other points (L-BFGS, SAM, Sophia) sees cost, gradient and Hessian with that term there too.
    coefficient: λ in [0, ∞). biases_and_norms: whether a network's tensors of one dimension take part.
    """

    name: ClassVar[str] = "l2"
    coefficient: float = not_negative(1e-4)
    biases_and_norms: bool = flag(False)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Around `inner`."""
        return _BoundL2(inner, weights(hyperparameters, layout).astype(dtype))


class _BoundL2(Wrapped):
    def __init__(self, inner: BoundOptimizer, weights: Array) -> None:
        super().__init__(inner)
        self._weights = weights

    def update(self, situation: Situation) -> None:
        seen = _Penalised(situation.evaluations, self._weights)
        costs = situation.costs + seen.penalty(situation.parameters)
        gradient = situation.gradient + self._weights * situation.parameters
        self.inner.update(replace(situation, costs=costs, gradient=gradient, evaluations=seen))


class _Penalised(Seen):
    def __init__(self, outside: Evaluations, weights: Array) -> None:
        super().__init__(outside)
        self._weights = weights

    def penalty(self, points: Array) -> Numbers:
        """½ λ |θ|² (R,)."""
        return 0.5 * row_dots(self._weights * points, points)

    def costs(self, points: Array, rows: Flags) -> Numbers:
        return self.outside.costs(points, rows) + self.penalty(points)

    def gradient(self, points: Array, rows: Flags) -> tuple[Numbers, Array]:
        costs, gradient = self.outside.gradient(points, rows)
        return costs + self.penalty(points), gradient + self._weights * points

    def hessian_product(self, vectors: Array, rows: Flags) -> Array:
        product: Array = self.outside.hessian_product(vectors, rows) + self._weights * vectors
        return product


@dataclass(frozen=True)
class WeightDecay(Around):
    """θ ← θ − η λ θ beside the rule's update, decoupled from it. PyTorch: weight_decay of AdamW.

    η is the rule's learning rate as its schedule has it: where that is a multiple of a rate found (Prodigy,
    D-Adaptation) or the parameters follow another point (Schedule-Free), the rule's own weight_decay is meant instead.
    coefficient: λ in [0, ∞). biases_and_norms: whether a network's tensors of one dimension take part.

    Source: Loshchilov & Hutter 2019, algorithms 1 and 2.
    """

    name: ClassVar[str] = "weight_decay"
    coefficient: float = not_negative(1e-2)
    biases_and_norms: bool = flag(False)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Around `inner`."""
        return _BoundWeightDecay(inner, weights(hyperparameters, layout))


class _BoundWeightDecay(Wrapped):
    def __init__(self, inner: BoundOptimizer, weights: Numbers) -> None:
        super().__init__(inner)
        self._weights = weights

    def update(self, situation: Situation) -> None:
        p = situation.parameters
        rates: Numbers = situation.hyperparameters.learning_rate[:, None] * self._weights
        lost = rates.astype(p.dtype) * p
        self.inner.update(situation)
        np.subtract(p, lost, out=p, where=situation.active[:, None])


def weights(h: Hyperparameters, layout: Layout) -> Numbers:
    """λ (R, P), 0 where a coordinate is left out.

    A network's tensors are named layer.tensor, and its biases, gains and shifts have one dimension; a test
    function's only tensor has a plain name and takes part.
    """
    mask = np.ones(layout.size)
    if not h.shared["biases_and_norms"]:
        for name, shape in zip(layout.names, layout.shapes, strict=True):
            if "." in name and len(shape) <= 1:
                mask[layout.slice(name)] = 0
    coefficients: Numbers = h.coefficient[:, None] * mask
    return coefficients
