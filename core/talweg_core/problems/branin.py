"""A surface with three equal minima.

Source: Dixon & Szegö 1978, "The global optimization problem: an introduction"; Branin 1972.
"""

from collections.abc import Sequence
from math import cos, pi, sin
from typing import Any

from talweg_core.problems.surface import SurfaceProblem


def branin(x: Any, gradient: Any, constants: Any) -> Any:
    """C = e² + 10 (1 − 1/8π) cos x₁ + 10, e = x₂ − 5.1/4π² x₁² + 5/π x₁ − 6.

    ∂C/∂x₁ = 2 e (5/π − 10.2/4π² x₁) − 10 (1 − 1/8π) sin x₁, ∂C/∂x₂ = 2 e.
    """
    a, b = float(x[0]), float(x[1])
    bend, tilt, height = 5.1 / (4 * pi * pi), 5 / pi, 10 * (1 - 1 / (8 * pi))
    error = b - bend * a * a + tilt * a - 6
    gradient[0] = 2 * error * (tilt - 2 * bend * a) - height * sin(a)
    gradient[1] = 2 * error
    return error * error + height * cos(a) + 10


def create(start: Sequence[float] = (2.5, 12.5)) -> SurfaceProblem:
    """Minimum 5/4π ≈ 0.397887 at (π, 2.275), and at (−π, 12.275) and (3π, 2.475)."""
    return SurfaceProblem("branin", branin, start, minimiser=(pi, 2.275), minimum=5 / (4 * pi))
