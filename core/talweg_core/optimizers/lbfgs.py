"""Limited-memory BFGS with a line search, on the full batch."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from talweg_core.layout import Array, Layout
from talweg_core.optimizers.base import (
    BoundOptimizer,
    Flags,
    Hyperparameters,
    Needs,
    Optimizer,
    Situation,
    not_negative,
    positive,
    size,
)
from talweg_core.optimizers.line_search import Search, Trial, strong_wolfe
from talweg_core.optimizers.tensors import row_dots


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """θ ← θ + t d, with d = −H g from the last n pairs s = t d, y = g − g₋ and H₀ = s·y / y·y; t by strong Wolfe.

    A step is one iteration: the search starts at t = η (at the first step η min(1, 1 / Σ |g|)) and takes up to 25
    trials, a gradient each. A pair with s·y ≤ 1e-10 is skipped. No update where max |g| ≤ ε_g, or where the slope g·d
    is above −ε_Δ.
    learning_rate: η in (0, ∞). history: n, a whole number. gradient_tolerance: ε_g in [0, ∞). change_tolerance: ε_Δ
    in [0, ∞), which also ends a search whose bracket is narrower.

    Source: Nocedal & Wright 2006, algorithms 7.4, 7.5, 3.5, 3.6. PyTorch: LBFGS(lr, max_iter=1, max_eval=26,
    tolerance_grad, tolerance_change, history_size, line_search_fn="strong_wolfe"). Vectors are kept in float64.
    Needs the full batch: y of two different batches would contain their difference.
    """

    name: ClassVar[str] = "lbfgs"
    needs: ClassVar[Needs] = "evaluations"
    full_batch: ClassVar[bool] = True
    state: ClassVar[tuple[str, ...]] = ("direction", "gradient", "s", "y")
    memory: ClassVar[str] = "(2 history + 2) P"
    evaluations: ClassVar[str] = "1 gradient, and 1 to 26 more in the line search"

    learning_rate: float = positive(1.0)
    history: float = size(100)
    gradient_tolerance: float = not_negative(1e-7)
    change_tolerance: float = not_negative(1e-9)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs of P coordinates."""
        return _BoundLBFGS(hyperparameters, layout)


class _BoundLBFGS(BoundOptimizer):
    def __init__(self, h: Hyperparameters, layout: Layout) -> None:
        runs, length, pairs = h.runs, layout.size, int(h.shared["history"])
        self._d, self._before = np.zeros((runs, length)), np.zeros((runs, length))
        self._s, self._y = np.zeros((runs, pairs, length)), np.zeros((runs, pairs, length))
        self._kept: NDArray[np.int64] = np.zeros(runs, np.int64)
        # The number of iterations (without those that a tolerance stopped), the last t, s·y / y·y of the last pair.
        self._iterations, self._t, self._scale = np.zeros(runs), np.zeros(runs), np.ones(runs)
        self.state = {
            "direction": self._d, "gradient": self._before, "s": self._s, "y": self._y, "kept": self._kept,
            "iterations": self._iterations, "length": self._t, "scale": self._scale,
        }  # fmt: skip

    def update(self, situation: Situation) -> None:
        h, g = situation.hyperparameters, situation.gradient.astype(np.float64)
        searches: dict[int, Search] = {}
        lengths: dict[int, float] = {}
        for r in map(int, np.flatnonzero(situation.active)):
            if np.abs(g[r]).max() <= h.gradient_tolerance[r]:
                continue
            first = self._iterations[r] == 0
            if not first:
                self._learn(r, g[r])
            self._d[r] = self._direction(r, g[r])
            self._before[r] = g[r]
            self._iterations[r] += 1
            rate = float(h.learning_rate[r])
            self._t[r] = rate * min(1.0, 1 / float(np.abs(g[r]).sum())) if first else rate
            slope = _dot(g[r], self._d[r])
            if slope > -h.change_tolerance[r]:
                continue
            longest = float(np.abs(self._d[r]).max())
            search = strong_wolfe(
                float(situation.costs[r]), slope, float(self._t[r]), longest, float(h.change_tolerance[r])
            )
            searches[r], lengths[r] = search, next(search)
        for r, trial in self._search(situation, searches, lengths).items():
            self._t[r] = trial.length
            situation.parameters[r] += trial.length * self._d[r]

    def _search(self, situation: Situation, searches: dict[int, Search], lengths: dict[int, float]) -> dict[int, Trial]:
        """Run all searches to their end, one trial of each at a time."""
        found: dict[int, Trial] = {}
        while lengths:
            points = situation.parameters.copy()
            rows: Flags = np.zeros(len(points), dtype=np.bool_)
            for r, length in lengths.items():
                points[r] += length * self._d[r]
                rows[r] = True
            costs, gradient = situation.evaluations.gradient(points, rows)
            for r in list(lengths):
                slope = _dot(gradient[r].astype(np.float64), self._d[r])
                try:
                    lengths[r] = searches[r].send((float(costs[r]), slope))
                except StopIteration as end:
                    del lengths[r]
                    found[r] = end.value
        return found

    def _learn(self, r: int, g: Array) -> None:
        """Store the last step as a pair, if s·y > 1e-10."""
        y, s = g - self._before[r], self._t[r] * self._d[r]
        bend = _dot(y, s)
        if bend <= 1e-10:
            return
        if self._kept[r] == self._s.shape[1]:
            self._s[r, :-1], self._y[r, :-1] = self._s[r, 1:].copy(), self._y[r, 1:].copy()
            self._kept[r] -= 1
        self._s[r, self._kept[r]], self._y[r, self._kept[r]] = s, y
        self._kept[r] += 1
        self._scale[r] = bend / _dot(y, y)

    def _direction(self, r: int, g: Array) -> Array:
        """−H g by two loops over the pairs."""
        pairs = range(int(self._kept[r]))
        q: Array = -g
        alpha = {}
        rho = {i: 1 / _dot(self._y[r, i], self._s[r, i]) for i in pairs}
        for i in reversed(pairs):
            alpha[i] = rho[i] * _dot(self._s[r, i], q)
            q = q - alpha[i] * self._y[r, i]
        q = self._scale[r] * q
        for i in pairs:
            q = q + (alpha[i] - rho[i] * _dot(self._y[r, i], q)) * self._s[r, i]
        return q


def _dot(a: Array, b: Array) -> float:
    return float(row_dots(a[None], b[None])[0])
