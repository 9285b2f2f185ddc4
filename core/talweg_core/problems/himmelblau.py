"""A surface with four equal minima: the one that is found depends on the path.

Source: Himmelblau 1972, "Applied nonlinear programming", p. 428.
"""

from collections.abc import Sequence
from typing import Any

from talweg_core.problems.surface import SurfaceProblem


def himmelblau(x: Any, gradient: Any, constants: Any) -> Any:
    """C = p² + q², p = x₁² + x₂ − 11, q = x₁ + x₂² − 7; ∂C/∂x₁ = 4 x₁ p + 2 q, ∂C/∂x₂ = 2 p + 4 x₂ q."""
    a, b = float(x[0]), float(x[1])
    p, q = a * a + b - 11, a + b * b - 7
    gradient[0] = 4 * a * p + 2 * q
    gradient[1] = 2 * p + 4 * b * q
    return p * p + q * q


def create(start: Sequence[float] = (0, 0)) -> SurfaceProblem:
    """Minimum 0 at (3, 2), near (−2.805, 3.131), (−3.779, −3.283) and (3.584, −1.848)."""
    return SurfaceProblem("himmelblau", himmelblau, start, minimiser=(3, 2))
