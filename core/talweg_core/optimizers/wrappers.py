"""Wrappers around any optimizer: clipping, weight decay, accumulation, averaging, sharpness; see Optimizer.around."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from talweg_core.layout import Array, Layout
from talweg_core.optimizers.base import (
    WRAPPERS,
    BoundOptimizer,
    Evaluations,
    Flags,
    Hyperparameters,
    Numbers,
    Situation,
    Wrapper,
    flag,
    fraction,
    not_negative,
    positive,
    whole,
)
from talweg_core.optimizers.tensors import row_dots, row_norms


class BoundWrapper(BoundOptimizer):
    """The base of bound wrappers: a rule `inner`, and its state together with the wrapper's."""

    def __init__(self, inner: BoundOptimizer) -> None:
        """Start with the state of `inner`."""
        self.inner = inner
        self.state: dict[str, NDArray[Any]] = dict(inner.state)

    def keep(self, name: str, array: NDArray[Any]) -> None:
        """Add an array (R, …) to the state; a second wrapper of the same kind gets another name."""
        while name in self.state:
            name += "′"
        self.state[name] = array

    def restored(self, row: int) -> None:
        """Also of the rule inside."""
        self.inner.restored(row)

    def evaluation_parameters(self, parameters: Array, updates: Numbers) -> Array:
        """The evaluation parameters of `inner`."""
        return self.inner.evaluation_parameters(parameters, updates)


class WrappedEvaluations:
    """Evaluations for the rule inside a wrapper: a trial's gradient must be of the same function as the step's."""

    def __init__(self, outside: Evaluations) -> None:
        """The evaluations of `outside`; a subclass changes some of them."""
        self.outside = outside

    def costs(self, points: Array, rows: Flags) -> Numbers:
        """C (R,) at points (R, P)."""
        return self.outside.costs(points, rows)

    def gradient(self, points: Array, rows: Flags) -> tuple[Numbers, Array]:
        """C (R,) and ∂C/∂θ (R, P) at points (R, P)."""
        return self.outside.gradient(points, rows)

    def hessian_product(self, vectors: Array, rows: Flags) -> Array:
        """H v (R, P)."""
        return self.outside.hessian_product(vectors, rows)

    def probe(self, row: int) -> np.random.Generator:
        """The random stream of one run at this step."""
        return self.outside.probe(row)


@dataclass(frozen=True)
class ClipValue(Wrapper):
    """Each derivative is limited to ± limit. PyTorch: clip_grad_value_.

    limit: in (0, ∞).
    """

    name: ClassVar[str] = "clip_value"
    limit: float = positive(1.0)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Wrap `inner`."""
        limit = hyperparameters.limit[:, None].astype(dtype)
        return _BoundClip(inner, lambda gradient: np.clip(gradient, -limit, limit))


@dataclass(frozen=True)
class ClipNorm(Wrapper):
    """g ← g min(1, limit / (|g| + 1e-6)), with the Euclidean norm of the whole gradient. PyTorch: clip_grad_norm_.

    limit: in (0, ∞).
    """

    name: ClassVar[str] = "clip_norm"
    limit: float = positive(1.0)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Wrap `inner`."""

        def clip(gradient: Array) -> Array:
            factor = np.minimum(1.0, hyperparameters.limit / (row_norms(gradient) + 1e-6))
            return gradient * factor[:, None].astype(gradient.dtype)

        return _BoundClip(inner, clip)


class _BoundClip(BoundWrapper):
    def __init__(self, inner: BoundOptimizer, clip: Callable[[Array], Array]) -> None:
        super().__init__(inner)
        self._clip = clip

    def update(self, situation: Situation) -> None:
        evaluations = _ClippedEvaluations(situation.evaluations, self._clip)
        self.inner.update(replace(situation, gradient=self._clip(situation.gradient), evaluations=evaluations))


class _ClippedEvaluations(WrappedEvaluations):
    def __init__(self, outside: Evaluations, clip: Callable[[Array], Array]) -> None:
        super().__init__(outside)
        self._clip = clip

    def gradient(self, points: Array, rows: Flags) -> tuple[Numbers, Array]:
        costs, gradient = self.outside.gradient(points, rows)
        return costs, self._clip(gradient)


@dataclass(frozen=True)
class L2(Wrapper):
    """g ← g + λ θ, the derivative of ½ λ |θ|² added to the cost's. PyTorch: weight_decay of SGD and Adam.

    For a rule that evaluates other points (L-BFGS, SAM, Sophia), cost, gradient and Hessian there include the term.
    coefficient: λ in [0, ∞). biases_and_norms: whether a network's tensors of one dimension are included.
    """

    name: ClassVar[str] = "l2"
    coefficient: float = not_negative(1e-4)
    biases_and_norms: bool = flag(False)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Wrap `inner`."""
        return _BoundL2(inner, weights(hyperparameters, layout).astype(dtype))


class _BoundL2(BoundWrapper):
    def __init__(self, inner: BoundOptimizer, weights: Array) -> None:
        super().__init__(inner)
        self._weights = weights

    def update(self, situation: Situation) -> None:
        evaluations = _PenalisedEvaluations(situation.evaluations, self._weights)
        costs = situation.costs + evaluations.penalty(situation.parameters)
        gradient = situation.gradient + self._weights * situation.parameters
        self.inner.update(replace(situation, costs=costs, gradient=gradient, evaluations=evaluations))


class _PenalisedEvaluations(WrappedEvaluations):
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
class WeightDecay(Wrapper):
    """θ ← θ − η λ θ in addition to the rule's update, decoupled from it. PyTorch: weight_decay of AdamW.

    η is the rule's learning rate with the schedule's factor. For Prodigy and D-Adaptation, which estimate the rate that
    η multiplies, and for Schedule-Free, whose parameters follow another point, use the rule's own weight_decay.
    coefficient: λ in [0, ∞). biases_and_norms: whether a network's tensors of one dimension are included.

    Source: Loshchilov & Hutter 2019, algorithms 1 and 2.
    """

    name: ClassVar[str] = "weight_decay"
    coefficient: float = not_negative(1e-2)
    biases_and_norms: bool = flag(False)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Wrap `inner`."""
        return _BoundWeightDecay(inner, weights(hyperparameters, layout))


class _BoundWeightDecay(BoundWrapper):
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
    """λ (R, P), 0 for coordinates that are excluded.

    A network's tensors are named layer.tensor, and its biases, gains and shifts have one dimension; a test
    function's only tensor has a plain name and is included.
    """
    mask = np.ones(layout.size)
    if not h.shared["biases_and_norms"]:
        for name, shape in zip(layout.names, layout.shapes, strict=True):
            if "." in name and len(shape) <= 1:
                mask[layout.slice(name)] = 0
    coefficients: Numbers = h.coefficient[:, None] * mask
    return coefficients


@dataclass(frozen=True)
class Accumulate(Wrapper):
    """The rule gets the mean of n gradients at every n-th step; no update in the steps between.

    The rule counts its own updates, the schedule counts steps. Further evaluations of the rule (SAM, Sophia) are on the
    last of the n batches; list SAM before this wrapper to accumulate its gradient. steps: n, a whole number from 1.
    optax: MultiSteps(every_k_schedule).
    """

    name: ClassVar[str] = "accumulate"
    steps: float = whole(2)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Wrap `inner`."""
        return _BoundAccumulate(inner, hyperparameters.steps, layout.size, dtype)


class _BoundAccumulate(BoundWrapper):
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
        """The evaluation parameters of `inner`, which has made fewer updates."""
        return self.inner.evaluation_parameters(parameters, updates // self._steps)


@dataclass(frozen=True)
class Average(Wrapper):
    """a ← δ a + (1 − δ) θ after each update, a = θ after the first; runs are evaluated at a, gradients are taken at θ.

    decay: δ in [0, 1).

    Source: Polyak & Juditsky 1992, with exponential weights. PyTorch: AveragedModel with get_ema_multi_avg_fn(decay).
    """

    name: ClassVar[str] = "average"
    decay: float = fraction(0.999)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Wrap `inner`."""
        return _BoundAverage(inner, hyperparameters.decay[:, None], layout.size, dtype)


class _BoundAverage(BoundWrapper):
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
        """The average, or the parameters before the first update."""
        return np.where((updates > 0)[:, None], self._average, parameters)


@dataclass(frozen=True)
class Sharpness(Wrapper):
    """The rule gets g(θ + ρ g / |g|), on the same batch; g(θ) where the gradient is 0.

    A line search inside evaluates C(θ + ρ g / |g|), with two gradients for each trial. rho: ρ in [0, ∞).

    Source: Foret et al. 2021, "Sharpness-aware minimization", algorithm 1. optax: contrib.sam with opaque_mode.
    """

    name: ClassVar[str] = "sam"
    rho: float = not_negative(0.05)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Wrap `inner`."""
        return self.wrap(inner, hyperparameters.rho)

    @staticmethod
    def wrap(inner: BoundOptimizer, rho: Numbers) -> BoundOptimizer:
        """Wrap `inner`, with ρ (R,)."""
        return _BoundSharpness(inner, rho)


class _BoundSharpness(BoundWrapper):
    def __init__(self, inner: BoundOptimizer, rho: Numbers) -> None:
        super().__init__(inner)
        self._rho = rho

    def update(self, situation: Situation) -> None:
        evaluations = _UphillEvaluations(situation.evaluations, self._rho)
        costs, uphill = evaluations.from_uphill(situation.parameters, situation.gradient, situation.active)
        self.inner.update(replace(situation, costs=costs, gradient=uphill, evaluations=evaluations))


class _UphillEvaluations(WrappedEvaluations):
    def __init__(self, outside: Evaluations, rho: Numbers) -> None:
        super().__init__(outside)
        self._rho = rho

    def from_uphill(self, points: Array, gradient: Array, rows: Flags) -> tuple[Numbers, Array]:
        """Cost (R,) and gradient (R, P) at θ + ρ g / |g|, from the gradient g (R, P) at points θ (R, P)."""
        lengths = row_norms(gradient)
        reach = self._rho / np.where(lengths > 0, lengths, 1.0)
        return self.outside.gradient(points + reach[:, None].astype(gradient.dtype) * gradient, rows)

    def costs(self, points: Array, rows: Flags) -> Numbers:
        return self.gradient(points, rows)[0]

    def gradient(self, points: Array, rows: Flags) -> tuple[Numbers, Array]:
        _, gradient = self.outside.gradient(points, rows)
        return self.from_uphill(points, gradient, rows)


WRAPPERS.update({kind.name: kind for kind in (ClipValue, ClipNorm, L2, WeightDecay, Accumulate, Average, Sharpness)})
