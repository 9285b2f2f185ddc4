"""A saddle on the path to the minimum: its slope is 0, and the cost falls in one direction alone.

Source: Nesterov 2004, "Introductory lectures on convex optimization", example 1.2.2, raised by ¼ so that the
minimum is 0.
"""

from collections.abc import Sequence
from typing import Any

from talweg_core.problems.surface import SurfaceProblem


def saddle(x: Any, gradient: Any, constants: Any) -> Any:
    """C = ½ x₁² + ¼ (x₂² − 1)²; ∂C/∂x₁ = x₁, ∂C/∂x₂ = x₂ (x₂² − 1). The saddle is at (0, 0), with C = ¼."""
    a, b = float(x[0]), float(x[1])
    gradient[0] = a
    gradient[1] = b * (b * b - 1)
    return 0.5 * a * a + 0.25 * (b * b - 1) * (b * b - 1)


def create(start: Sequence[float] = (1, 0.001)) -> SurfaceProblem:
    """Minimum 0 at (0, 1) and (0, −1); starts next to the ridge that leads into the saddle."""
    return SurfaceProblem("saddle", saddle, start, minimiser=(0, 1))
