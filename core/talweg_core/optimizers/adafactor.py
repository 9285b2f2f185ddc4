"""Adam-like updates with factored second moments: n + m numbers for an n × m matrix, not n m."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from talweg_core.layout import Array, Layout
from talweg_core.optimizers.base import (
    BoundOptimizer,
    Hyperparameters,
    Needs,
    Optimizer,
    Situation,
    not_negative,
    positive,
    within,
)
from talweg_core.optimizers.tensors import row_norms


@dataclass(frozen=True)
class Adafactor(Optimizer):
    """V from the means r, c of g² over columns and rows, V = r c / mean(r); U = g / √V; θ ← θ − α U / max(1, |U| / d).

    At update t: r, c (for vectors V itself) ← (1 − t^γ) r + t^γ mean; |·| is the root mean square;
    α = max(ε₂, |θ|) min(η, 1 / √t); first, θ ← (1 − η λ) θ. A tensor of more dimensions is a stack of matrices of its
    last two.
    learning_rate: η in (0, ∞). beta2_decay: γ in (−∞, 0]. epsilon1: ε₁ in [0, ∞), lower bound of √V and mean(r);
    0 means the precision's machine epsilon. epsilon2: ε₂ in [0, ∞). clip: d in [1, ∞). weight_decay: λ in [0, ∞).

    Source: Shazeer & Stern 2018, algorithms 4 and 5, as PyTorch has them: Adafactor(lr, beta2_decay, eps=(epsilon1,
    epsilon2), d=clip, weight_decay). Computed in float64, stored in the run's precision.
    """

    name: ClassVar[str] = "adafactor"
    needs: ClassVar[Needs] = "tensors"
    state: ClassVar[tuple[str, ...]] = ("rows", "columns", "squares")
    memory: ClassVar[str] = "n + m a matrix, n a vector"

    learning_rate: float = positive(1e-2)
    beta2_decay: float = within(-0.8, -float("inf"), 0, "(]")
    epsilon1: float = not_negative(0.0)
    epsilon2: float = not_negative(1e-3)
    clip: float = within(1.0, 1, float("inf"), "[)")
    weight_decay: float = not_negative(0.0)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs of P coordinates."""
        return _BoundAdafactor(hyperparameters, layout, dtype)


class _BoundAdafactor(BoundOptimizer):
    def __init__(self, h: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> None:
        self._layout = layout
        self.state: dict[str, NDArray[Any]] = {}
        for name, shape in zip(layout.names, layout.shapes, strict=True):
            if len(shape) > 1:
                self.state[f"rows.{name}"] = np.zeros((h.runs, *shape[:-1]), dtype)
                self.state[f"columns.{name}"] = np.zeros((h.runs, *shape[:-2], shape[-1]), dtype)
            else:
                self.state[f"squares.{name}"] = np.zeros((h.runs, *shape), dtype)

    def update(self, situation: Situation) -> None:
        h = situation.hyperparameters
        t = situation.updates + 1
        for r in map(int, np.flatnonzero(situation.active)):
            # Run by run: a sum over an axis may round differently for another number of runs.
            row = h.of_run(r)
            parameters = self._layout.tensors(situation.parameters[r])
            gradients = self._layout.tensors(situation.gradient[r])
            for name, p in parameters.items():
                self._one(name, r, p, gradients[name].astype(np.float64), row, float(t[r]))

    def _one(self, name: str, r: int, p: Array, g: Array, h: dict[str, float], t: float) -> None:
        weight = t ** h["beta2_decay"]
        least = h["epsilon1"] or float(np.finfo(p.dtype).eps)
        size = float(row_norms(p.reshape(1, -1))[0]) / np.sqrt(p.size)
        alpha = max(h["epsilon2"], size) * min(h["learning_rate"], 1 / np.sqrt(t))
        square = g * g
        if g.ndim > 1:
            rows, columns = self.state[f"rows.{name}"][r], self.state[f"columns.{name}"][r]
            rows[:] = rows + weight * (square.mean(axis=-1) - rows)
            columns[:] = columns + weight * (square.mean(axis=-2) - columns)
            scale = np.maximum(rows.astype(np.float64).mean(axis=-1), least)[..., None, None]
            v = rows[..., :, None].astype(np.float64) * columns[..., None, :] / scale
        else:
            squares = self.state[f"squares.{name}"][r]
            squares[...] = squares + weight * (square - squares)
            v = squares.astype(np.float64)
        u = g / np.sqrt(np.maximum(v, least * least))
        length = float(row_norms(u.reshape(1, -1))[0]) / np.sqrt(u.size)
        p[...] = p * (1 - h["learning_rate"] * h["weight_decay"]) - alpha / max(1.0, length / h["clip"]) * u
