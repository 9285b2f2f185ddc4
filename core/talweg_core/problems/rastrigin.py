"""A bowl with a local minimum near every point of whole numbers.

Minimum 0 at 0, usual domain [−5.12, 5.12] in each coordinate. It starts at (3.3, 3.3, …), three local minima
away; with start "random", at a point that the run's seed draws evenly from the domain.

Sources: Rastrigin 1974, "Systems of extremal control"; Mühlenbein, Schomisch & Born 1991 (any dimension, domain).
"""

from math import cos, pi, sin
from typing import Any

from talweg_core.errors import InvalidProblem
from talweg_core.problems.surface import Start, SurfaceProblem


def rastrigin(x: Any, gradient: Any, constants: Any) -> Any:
    """C = Σ 10 + x_i² − 10 cos 2π x_i; ∂C/∂x_i = 2 x_i + 20 π sin 2π x_i."""
    total = 0.0
    for i in range(x.size):
        a = float(x[i])
        gradient[i] = 2 * a + 20 * pi * sin(2 * pi * a)
        total += 10 + a * a - 10 * cos(2 * pi * a)
    return total


def create(dimension: int = 2, start: Start | None = None) -> SurfaceProblem:
    """Minimum 0 at 0; starts at (3.3, 3.3, …), three local minima away, or at "random" in [−5.12, 5.12]."""
    if not isinstance(dimension, int) or isinstance(dimension, bool) or not 1 <= dimension <= 1_000_000:
        raise InvalidProblem(f"rastrigin: dimension must lie in [1, 1000000], got {dimension!r}")
    return SurfaceProblem(
        "rastrigin",
        rastrigin,
        [3.3] * dimension if start is None else start,
        minimiser=[0.0] * dimension,
        box=(-5.12, 5.12),
        settings={"dimension": dimension},
    )
