"""A minimum in a plain: far from it, the slope is almost 0.

Source: Geman & McClure 1985, "Bayesian image analysis: an application to single photon emission tomography"; their
robust error, here of a point in two dimensions.
"""

from collections.abc import Sequence
from typing import Any

from talweg_core.problems.surface import SurfaceProblem


def plateau(x: Any, gradient: Any, constants: Any) -> Any:
    """C = r² / (1 + r²), r² = x₁² + x₂²; ∂C/∂x = 2 x / (1 + r²)²."""
    a, b = float(x[0]), float(x[1])
    square = a * a + b * b
    slope = 2 / ((1 + square) * (1 + square))
    gradient[0] = slope * a
    gradient[1] = slope * b
    return square / (1 + square)


def create(start: Sequence[float] = (3, 4)) -> SurfaceProblem:
    """Minimum 0 at (0, 0); at the start the slope is 0.0148."""
    return SurfaceProblem("plateau", plateau, start, minimiser=(0, 0))
