"""Wrappers that change a rule's updates, or keep a second point: cautious, Lookahead, SWA, rates of chosen tensors."""

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import numpy as np

from talweg_core.errors import InvalidHyperparameter
from talweg_core.layout import Array, Layout
from talweg_core.optimizers.base import (
    WRAPPERS,
    BoundOptimizer,
    Flags,
    Hyperparameters,
    Numbers,
    Situation,
    Wrapper,
    not_negative,
    positive,
    text,
    whole,
    within,
)
from talweg_core.optimizers.wrappers import BoundWrapper


@dataclass(frozen=True)
class Cautious(Wrapper):
    """u ← u φ d / (|φ|₀ + 1) for each tensor, φ = 1 where the rule's update u goes down the gradient, u g < 0, else 0.

    d is the tensor's size and |φ|₀ the number of ones. List weight_decay before it: decay is no part of u.

    Source: Liang et al. 2024, "Cautious optimizers", algorithm 1. pytorch_optimizer: Lion(cautious=True).
    """

    name: ClassVar[str] = "cautious"

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Wrap `inner`."""
        return _BoundCautious(inner, layout)


class _BoundCautious(BoundWrapper):
    def __init__(self, inner: BoundOptimizer, layout: Layout) -> None:
        super().__init__(inner)
        self._parts = [layout.slice(name) for name in layout.names]

    def update(self, situation: Situation) -> None:
        p, g = situation.parameters, situation.gradient
        before = p.copy()
        self.inner.update(situation)
        update = p - before
        for part in self._parts:
            u = update[:, part]
            down = u * g[:, part] < 0
            factor = down.shape[1] / (np.count_nonzero(down, axis=1) + 1.0)
            changed = before[:, part] + u * down * factor[:, None].astype(p.dtype)
            np.copyto(p[:, part], changed, where=situation.active[:, None])


@dataclass(frozen=True)
class Lookahead(Wrapper):
    """After every `steps` updates: s ← s + α (θ − s), θ ← s, from s = θ₀. The rule's own state stays as it is.

    steps: a whole number from 1. alpha: α in (0, 1].

    Source: Zhang et al. 2019, "Lookahead optimizer: k steps forward, 1 step back", algorithm 1. pytorch_optimizer:
    Lookahead(optimizer, k=steps, alpha, pullback_momentum="none"). optax: lookahead.
    """

    name: ClassVar[str] = "lookahead"
    steps: float = whole(5)
    alpha: float = within(0.5, 0, 1, "(]")

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Wrap `inner`."""
        return _BoundLookahead(inner, hyperparameters, layout.size, dtype)


class _BoundLookahead(BoundWrapper):
    def __init__(self, inner: BoundOptimizer, h: Hyperparameters, size: int, dtype: np.dtype[Any]) -> None:
        super().__init__(inner)
        self._steps, self._alpha = h.steps, h.alpha[:, None].astype(dtype)
        self._slow = np.zeros((h.runs, size), dtype)
        self.keep("slow", self._slow)

    def update(self, situation: Situation) -> None:
        p, slow = situation.parameters, self._slow
        np.copyto(slow, p, where=(situation.active & (situation.updates == 0))[:, None])
        self.inner.update(situation)
        due = (situation.active & ((situation.updates + 1) % self._steps == 0))[:, None]
        np.copyto(slow, slow + self._alpha * (p - slow), where=due)
        np.copyto(p, slow, where=due)


@dataclass(frozen=True)
class WeightAverage(Wrapper):
    """a ← a + (θ − a) / n, the mean of n points: of each `every`-th update after the first `start`; evaluated at a.

    Before the first of them, runs are evaluated at θ; gradients are taken at θ. start: a whole number from 0. every: a
    whole number from 1.

    Source: Izmailov et al. 2018, "Averaging weights leads to wider optima", algorithm 1. PyTorch: AveragedModel.
    """

    name: ClassVar[str] = "swa"
    start: float = whole(0, low=0)
    every: float = whole(1)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Wrap `inner`."""
        return _BoundWeightAverage(inner, hyperparameters, layout.size, dtype)


class _BoundWeightAverage(BoundWrapper):
    def __init__(self, inner: BoundOptimizer, h: Hyperparameters, size: int, dtype: np.dtype[Any]) -> None:
        super().__init__(inner)
        self._start, self._every = h.start, h.every
        self._mean = np.zeros((h.runs, size), dtype)
        self.keep("mean", self._mean)

    def update(self, situation: Situation) -> None:
        self.inner.update(situation)
        after = situation.updates + 1 - self._start
        taken: Flags = situation.active & (after >= 1) & ((after - 1) % self._every == 0)
        if taken.any():
            point = self.inner.evaluation_parameters(situation.parameters, situation.updates + 1)
            count: Numbers = np.maximum((after - 1) // self._every + 1, 1.0)
            mean = self._mean + (point - self._mean) / count[:, None].astype(point.dtype)
            np.copyto(self._mean, np.where((count == 1)[:, None], point, mean), where=taken[:, None])

    def evaluation_parameters(self, parameters: Array, updates: Numbers) -> Array:
        """The mean, or before its first point the evaluation parameters of `inner`."""
        point = self.inner.evaluation_parameters(parameters, updates)
        return np.where((updates > self._start)[:, None], self._mean, point)


@dataclass(frozen=True)
class TensorRate(Wrapper):
    """u ← c u for the tensors whose names match a pattern: another learning rate for them; 0 freezes them.

    For every rule whose update is its learning rate times something, as a parameter group with the learning rate c η is
    in PyTorch. tensors: a pattern such as *.bias or dense1.*, in which * matches any characters. times: c in [0, ∞).
    """

    name: ClassVar[str] = "tensor_rate"
    tensors: str = text("*")
    times: float = not_negative(1.0)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Wrap `inner`; raises InvalidHyperparameter where no tensor matches."""
        pattern = hyperparameters.shared["tensors"]
        parts = [layout.slice(name) for name in layout.names if fnmatchcase(name, pattern)]
        if not parts:
            raise InvalidHyperparameter(
                f"tensor_rate: tensors must match at least one of {', '.join(layout.names)}, got {pattern!r}"
            )
        return _BoundTensorRate(inner, parts, hyperparameters.times[:, None].astype(dtype))


class _BoundTensorRate(BoundWrapper):
    def __init__(self, inner: BoundOptimizer, parts: list["slice[int, int, None]"], times: Array) -> None:
        super().__init__(inner)
        self._parts, self._times = parts, times

    def update(self, situation: Situation) -> None:
        p = situation.parameters
        before = [p[:, part].copy() for part in self._parts]
        self.inner.update(situation)
        for part, at in zip(self._parts, before, strict=True):
            np.copyto(p[:, part], at + self._times * (p[:, part] - at), where=situation.active[:, None])


@dataclass(frozen=True)
class GrokFast(Wrapper):
    """μ ← α μ + (1 − α) g, from μ = g at the first step; the rule gets g + λ μ.

    Not for rules that evaluate other points (L-BFGS, SAM), which get the unfiltered gradient there. alpha: α in [0, 1).
    strength: λ in (0, ∞).

    Source: Lee et al. 2024, "Grokfast", algorithm 2 (EMA). pytorch_optimizer: gradfilter_ema(alpha, lamb=strength).
    """

    name: ClassVar[str] = "grokfast"
    alpha: float = within(0.98, 0, 1, "[)")
    strength: float = positive(2.0)

    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Wrap `inner`."""
        return _BoundGrokFast(inner, hyperparameters, layout.size, dtype)


class _BoundGrokFast(BoundWrapper):
    def __init__(self, inner: BoundOptimizer, h: Hyperparameters, size: int, dtype: np.dtype[Any]) -> None:
        super().__init__(inner)
        self._alpha, self._rest = (x[:, None].astype(dtype) for x in (h.alpha, 1 - h.alpha))
        self._strength = h.strength[:, None].astype(dtype)
        self._slow = np.zeros((h.runs, size), dtype)
        self.keep("slow_gradient", self._slow)

    def update(self, situation: Situation) -> None:
        g = situation.gradient
        mixed = self._alpha * self._slow + self._rest * g
        first = (situation.updates == 0)[:, None]
        np.copyto(self._slow, np.where(first, g, mixed), where=situation.active[:, None])
        with_slow = np.where(situation.active[:, None], g + self._strength * self._slow, g)
        self.inner.update(replace(situation, gradient=with_slow))


WRAPPERS.update({kind.name: kind for kind in (Cautious, Lookahead, WeightAverage, TensorRate, GrokFast)})
