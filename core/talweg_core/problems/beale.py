"""A surface that is flat in the middle and steep at the corners.

Source: Beale 1958, "On an iterative method for finding a local minimum of a function of more than one variable".
"""

from collections.abc import Sequence
from typing import Any

from talweg_core.problems.surface import SurfaceProblem


def beale(x: Any, gradient: Any, constants: Any) -> Any:
    """C = Σ e_k², e_k = c_k − x₁ (1 − x₂ᵏ), c = (1.5, 2.25, 2.625).

    ∂C/∂x₁ = −2 Σ e_k (1 − x₂ᵏ), ∂C/∂x₂ = 2 Σ e_k x₁ k x₂ᵏ⁻¹.
    """
    a, b = float(x[0]), float(x[1])
    first = 1.5 - a + a * b
    second = 2.25 - a + a * b * b
    third = 2.625 - a + a * b * b * b
    gradient[0] = -2 * (first * (1 - b) + second * (1 - b * b) + third * (1 - b * b * b))
    gradient[1] = 2 * a * (first + 2 * second * b + 3 * third * b * b)
    return first * first + second * second + third * third


def create(start: Sequence[float] = (-4.5, 4.5)) -> SurfaceProblem:
    """Minimum 0 at (3, 0.5)."""
    return SurfaceProblem("beale", beale, start, minimiser=(3, 0.5))
