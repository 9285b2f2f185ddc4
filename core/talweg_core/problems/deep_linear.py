"""A linear map learned by a deep linear network: a simple function with a difficult cost surface.

The output depends on the product of the layers alone, so that minima form valleys. The origin is a saddle of high
order, and the cost has a plateau before each singular value is learned.
Source: Saxe, McClelland & Ganguli 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
networks".
"""

from typing import Any

import numpy as np

from talweg_core.data import split
from talweg_core.errors import InvalidProblem
from talweg_core.initial import orthogonal
from talweg_core.problems.network_problem import NetworkProblem
from talweg_core.randomness import stream

WIDTH = 10


def create(depth: int = 5) -> NetworkProblem:
    """`depth` layers of 10 units without bias, for y = A x, A with singular values 1, 0.9, …, 0.1; minimum 0."""
    if not isinstance(depth, int) or isinstance(depth, bool) or not 1 <= depth <= 100:
        raise InvalidProblem(f"deep-linear: depth must lie in [1, 100], got {depth!r}")
    generator = stream(0, "data", 1)
    left, right = (orthogonal(generator, (WIDTH, WIDTH), WIDTH, WIDTH) for _ in range(2))
    inputs = generator.normal(size=(500, WIDTH))
    targets = inputs @ (left * np.linspace(1, 0.1, WIDTH)) @ right
    layers: list[dict[str, Any]] = [{"layer": "dense", "units": WIDTH, "bias": False}] * depth
    data = split("linear-map", inputs, targets, standardise=False)
    return NetworkProblem("deep-linear", data, layers, "squared_error", described={"depth": depth})
