"""Check a gradient against central differences."""

from dataclasses import dataclass

import numpy as np

from talweg_core.errors import EngineError
from talweg_core.layout import Array
from talweg_core.problems.base import Problem
from talweg_core.randomness import stream


@dataclass(frozen=True)
class GradientCheck:
    """The differences between backpropagation and central differences along random directions."""

    relative_errors: Array
    # By backpropagation, (P,) in float64.
    gradient: Array

    @property
    def worst(self) -> float:
        """The largest relative error."""
        return float(self.relative_errors.max())


@np.errstate(all="ignore")
def check_gradient(
    problem: Problem,
    *,
    parameters: Array | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    step: int = 0,
    directions: int = 8,
    width: float = 1e-5,
) -> GradientCheck:
    """Compare g · d with (C(θ + h d) − C(θ − h d)) / 2h in float64, h = `width`, for random unit directions d.

    A single wrong coordinate changes nearly every direction. An error is relative to the larger of the two values, or
    to |g| / √P where both are smaller than that; NaN where a cost is not finite. The point is `parameters` (P,), by
    default the initial parameters of `seed`; the batch is that of `step`.
    Source: Gill, Murray & Wright 1981, section 8.6.
    """
    if directions < 1:
        raise EngineError(f"directions: must be at least 1, got {directions}")
    row = np.array([problem.initial(seed) if parameters is None else parameters], dtype=np.float64)
    point, gradient = row.copy(), np.zeros_like(row)
    oracle = problem.bind(row, gradient, [seed], batch_size or problem.default_batch_size)
    oracle.gradient(step)
    g = gradient[0].copy()
    generator = stream(seed, "check")
    floor = float(np.linalg.norm(g)) / np.sqrt(g.size)
    errors = []
    for _ in range(directions):
        d = generator.normal(size=g.size)
        d /= np.linalg.norm(d)
        row[0] = point[0] + width * d
        above = float(oracle.costs(step)[0])
        row[0] = point[0] - width * d
        below = float(oracle.costs(step)[0])
        measured, predicted = (above - below) / (2 * width), float(g @ d)
        scale = max(abs(measured), abs(predicted), floor, 1e-12)
        errors.append(abs(measured - predicted) / scale)
    return GradientCheck(np.array(errors), g)
