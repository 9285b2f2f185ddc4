"""A curved, narrow valley.

Source: Rosenbrock 1960, "An automatic method for finding the greatest or least value of a function", equation 3.
"""

from collections.abc import Sequence
from typing import Any

from talweg_core.problems.surface import SurfaceProblem


def rosenbrock(x: Any, gradient: Any, constants: Any) -> Any:
    """C = 100 (x₂ − x₁²)² + (1 − x₁)²; ∂C/∂x₁ = −400 x₁ (x₂ − x₁²) − 2 (1 − x₁), ∂C/∂x₂ = 200 (x₂ − x₁²)."""
    a, b = float(x[0]), float(x[1])
    bend = b - a * a
    gradient[0] = -400 * a * bend - 2 * (1 - a)
    gradient[1] = 200 * bend
    return 100 * bend * bend + (1 - a) * (1 - a)


def create(start: Sequence[float] = (-0.5, 1.5)) -> SurfaceProblem:
    """Minimum 0 at (1, 1)."""
    return SurfaceProblem("rosenbrock", rosenbrock, start, minimiser=(1, 1))
