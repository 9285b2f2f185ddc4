"""Two interleaved spirals: 194 points, two inputs, and a boundary that winds three times.

Source: Lang & Witbrock 1988, "Learning to tell two spirals apart"; its 194 points, scaled to radius 1.
"""

from typing import Any

import numpy as np

from talweg_core.data import split
from talweg_core.problems.network_problem import NetworkProblem


def create() -> NetworkProblem:
    """2-32-32-2 units with tanh and cross-entropy: 1,218 parameters."""
    k = np.arange(97)
    angle, radius = k * np.pi / 16, (104 - k) / 104
    spiral = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
    inputs, labels = np.concatenate([spiral, -spiral]), np.repeat(np.array([0, 1]), 97)
    layers: list[dict[str, Any]] = [
        {"layer": "dense", "units": 32},
        {"layer": "tanh"},
        {"layer": "dense", "units": 32},
        {"layer": "tanh"},
        {"layer": "dense", "units": 2},
    ]
    data = split("two-spirals", inputs, labels, standardise=False)
    return NetworkProblem("two-spirals", data, layers, "cross_entropy")
