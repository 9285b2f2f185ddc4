"""The smallest network for derivatives by hand.

Two linear layers of one unit each, one example x = 1.5 with target 0, absolute error: C = |w₂ (w₁ x + b₁) + b₂|.
At w₁ = 1, b₁ = 0, w₂ = 2, b₂ = 0 the cost is 3; at w₁ = 2 it is 6. So ∂C/∂w₁ = w₂ x = 3, ∂C/∂b₁ = w₂ = 2,
∂C/∂w₂ = w₁ x + b₁ = 1.5, ∂C/∂b₂ = 1.
"""

from collections.abc import Sequence

import numpy as np

from talweg_core.data import Dataset
from talweg_core.problems.network_problem import NetworkProblem


def create(start: Sequence[float] = (1, 0, 2, 0)) -> NetworkProblem:
    """`start` is (w₁, b₁, w₂, b₂)."""
    only = np.array([0])
    data = Dataset("one-point", np.array([[1.5]]), np.array([[0.0]]), {"train": only, "validation": only, "test": only})
    line = [{"layer": "dense", "units": 1}, {"layer": "dense", "units": 1}]
    return NetworkProblem("two-layer-line", data, line, "absolute_error", batch_size=1, start=start)
