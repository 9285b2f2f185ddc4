"""Test functions of any dimension, for judging: Rosenbrock, Ackley, Styblinski–Tang, Griewank.

Each starts, unless told otherwise, at a point that the run's seed draws evenly from the function's usual domain: from
one fixed point all seeds would make the same run, and a comparison could say nothing about other points. `rastrigin`,
which came before them, starts so where it is asked to.

Ackley, Griewank and Rastrigin are least at 0, where weight decay leads by itself: an optimizer with decay is not
judged fairly by them.
"""

from math import cos, e, exp, pi, sin, sqrt
from typing import Any

import numpy as np

from talweg_core.errors import InvalidProblem
from talweg_core.problems.surface import Start, SurfaceProblem

# Where 4 x³ − 32 x + 5 = 0, the least of its three roots.
STYBLINSKI_TANG_MINIMISER = -2.9035340277711771
STYBLINSKI_TANG_MINIMUM = -39.166165703771419


def rosenbrock(x: Any, gradient: Any, constants: Any) -> Any:
    """C = Σ_{i<n} 100 e_i² + (1 − x_i)², e_i = x_{i+1} − x_i²; ∂C/∂x_i = 200 e_{i−1} − 400 x_i e_i − 2 (1 − x_i).

    In the last term of ∂C/∂x the terms with e_n and 1 − x_n are missing, in the first the one with e_0.
    """
    total = before = 0.0
    for i in range(x.size - 1):
        a = float(x[i])
        bend = float(x[i + 1]) - a * a
        gradient[i] = before - 400 * a * bend - 2 * (1 - a)
        total += 100 * bend * bend + (1 - a) * (1 - a)
        before = 200 * bend
    gradient[x.size - 1] = before
    return total


def rosenbrock_n(dimension: int = 10, start: Start = "random") -> SurfaceProblem:
    """The banana-shaped valley in any dimension from 2: it winds through all coordinates in turn.

    Minimum 0 at (1, …, 1); usual domain [−2.048, 2.048] in each coordinate. From dimension 4 there is a local minimum
    too, near (−1, 1, …, 1), with a cost a little below 4. It starts at random in the domain, by the run's seed, or at
    `start`. In dimension 2 it is `rosenbrock`.

    Sources: Rosenbrock 1960, equation 3; De Jong 1975, "An analysis of the behavior of a class of genetic adaptive
    systems", F2 (domain); Shang & Qiu 2006, "A note on the extended Rosenbrock function" (the sum over neighbours, and
    its local minimum).
    """
    return _made("rosenbrock-n", rosenbrock, dimension, start, (-2.048, 2.048), minimiser=1.0, least=2)


def ackley(x: Any, gradient: Any, constants: Any) -> Any:
    """C = 20 + e − 20 exp(−0.2 r) − exp(c), r = √(Σ x_i² / n), c = Σ cos(2π x_i) / n.

    ∂C/∂x_i = 4 exp(−0.2 r) x_i / (n r) + 2π exp(c) sin(2π x_i) / n. At 0, where it has a kink, the first term is 0.
    """
    n = x.size
    square = waves = 0.0
    for i in range(n):
        a = float(x[i])
        square += a * a
        waves += cos(2 * pi * a)
    r, wave = sqrt(square / n), exp(waves / n)
    funnel = exp(-0.2 * r)
    pull = 0.0 if r == 0 else 4 * funnel / (n * r)
    for i in range(n):
        a = float(x[i])
        gradient[i] = pull * a + 2 * pi * wave * sin(2 * pi * a) / n
    return 20 * (1 - funnel) + e - wave


def ackley_n(dimension: int = 10, start: Start = "random") -> SurfaceProblem:
    """A funnel in a wide plain of dents.

    Minimum 0 at 0; usual domain [−32.768, 32.768] in each coordinate. It starts at random in the domain, by the run's
    seed, or at `start`.

    Sources: Ackley 1987, "A connectionist machine for genetic hillclimbing" (dimension 2); Bäck 1996, "Evolutionary
    algorithms in theory and practice" (any dimension, domain).
    """
    return _made("ackley", ackley, dimension, start, (-32.768, 32.768), minimiser=0.0)


def styblinski_tang(x: Any, gradient: Any, constants: Any) -> Any:
    """C = ½ Σ x_i⁴ − 16 x_i² + 5 x_i; ∂C/∂x_i = 2 x_i³ − 16 x_i + 2.5."""
    total = 0.0
    for i in range(x.size):
        a = float(x[i])
        gradient[i] = 2 * a * a * a - 16 * a + 2.5
        total += 0.5 * (a * a * a * a - 16 * a * a + 5 * a)
    return total


def styblinski_tang_n(dimension: int = 10, start: Start = "random") -> SurfaceProblem:
    """Two valleys in each coordinate, of which one is deeper: 2ⁿ minima.

    Minimum −39.166166 n at (−2.903534, …, −2.903534); a coordinate in the other valley, at 2.746803, costs 14.137 more.
    Usual domain [−5, 5] in each coordinate. It starts at random in the domain, by the run's seed, or at `start`.

    Source: Styblinski & Tang 1990, "Experiments in nonconvex optimization: stochastic approximation with function
    smoothing and simulated annealing".
    """
    return _made(
        "styblinski-tang",
        styblinski_tang,
        dimension,
        start,
        (-5.0, 5.0),
        minimiser=STYBLINSKI_TANG_MINIMISER,
        each=STYBLINSKI_TANG_MINIMUM,
    )


def griewank(x: Any, gradient: Any, constants: Any) -> Any:
    """C = 1 + Σ x_i² / 4000 − p, p = Π cos(x_i / √i), i from 1.

    ∂C/∂x_i = x_i / 2000 + sin(x_i / √i) / √i · p / cos(x_i / √i).
    """
    square, product = 0.0, 1.0
    for i in range(x.size):
        a = float(x[i])
        square += a * a
        product *= cos(a / sqrt(i + 1.0))
    for i in range(x.size):
        a, root = float(x[i]), sqrt(i + 1.0)
        # No float64 is an odd multiple of π / 2, so the cosine is never 0.
        gradient[i] = a / 2000 + sin(a / root) / root * (product / cos(a / root))
    return 1 + square / 4000 - product


def griewank_n(dimension: int = 10, start: Start = "random") -> SurfaceProblem:
    """A wide bowl with thousands of ripples, which flatten as the dimension grows.

    Minimum 0 at 0; usual domain [−600, 600] in each coordinate. It starts at random in the domain, by the run's seed,
    or at `start`.

    Sources: Griewank 1981, "Generalized descent for global optimization" (there with 200 in dimension 2 and 4000 in
    dimension 10); Törn & Žilinskas 1989, "Global optimization" (domain).
    """
    return _made("griewank", griewank, dimension, start, (-600.0, 600.0), minimiser=0.0)


def _made(
    name: str,
    surface: Any,
    dimension: int,
    start: Start,
    box: tuple[float, float],
    *,
    minimiser: float,
    each: float = 0.0,
    least: int = 1,
) -> SurfaceProblem:
    """The problem whose minimum is `each` a coordinate; `least` is the least dimension that it has."""
    if isinstance(dimension, bool) or not isinstance(dimension, int) or not least <= dimension <= 1_000_000:
        raise InvalidProblem(f"{name}: dimension must lie in [{least}, 1000000], got {dimension!r}")
    return SurfaceProblem(
        name,
        surface,
        start,
        minimiser=np.full(dimension, minimiser).tolist(),
        minimum=each * dimension,
        box=box,
        settings={"dimension": dimension},
    )
