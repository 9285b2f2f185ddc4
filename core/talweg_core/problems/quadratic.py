"""A diagonal quadratic of any dimension and condition number, where every convergence rate is known.

Source: Nesterov 2004, "Introductory lectures on convex optimization", section 2.1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from talweg_core.errors import InvalidProblem
from talweg_core.problems.surface import SurfaceProblem


def quadratic(x: Any, gradient: Any, constants: Any) -> Any:
    """C = ½ Σ h_i x_i²; ∂C/∂x_i = h_i x_i."""
    (curvatures,) = constants
    total = 0.0
    for i in range(x.size):
        slope = curvatures[i] * float(x[i])
        gradient[i] = slope
        total += 0.5 * slope * x[i]
    return total


def create(dimension: int = 10, condition: float = 100.0, start: Sequence[float] | None = None) -> SurfaceProblem:
    """Curvatures spaced evenly in logarithm from 1 / condition to 1; minimum 0 at 0; starts at (1, …, 1)."""
    if isinstance(dimension, bool) or not isinstance(dimension, int) or not 1 <= dimension <= 1_000_000:
        raise InvalidProblem(f"quadratic: dimension must lie in [1, 1000000], got {dimension!r}")
    if not 1 <= condition < float("inf"):
        raise InvalidProblem(f"quadratic: condition must lie in [1, ∞), got {condition!r}")
    curvatures = np.geomspace(1 / condition, 1, dimension) if dimension > 1 else np.ones(1)
    return SurfaceProblem(
        "quadratic",
        quadratic,
        [1.0] * dimension if start is None else start,
        constants=(curvatures,),
        minimiser=[0.0] * dimension,
        settings={"dimension": dimension, "condition": condition},
    )
