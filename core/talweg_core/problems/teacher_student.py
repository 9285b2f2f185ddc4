"""A network learns the outputs of another one: the smallest cost, 0, is known and can be reached.

Source: Saad & Solla 1995, "On-line learning in soft committee machines"; here with tanh in place of the error function.
"""

from typing import Any

import numpy as np

from talweg_core.data import split
from talweg_core.problems.network_problem import NetworkProblem
from talweg_core.randomness import stream

INPUTS, TEACHER, STUDENT = 10, 4, 8


def create() -> NetworkProblem:
    """A fixed random teacher of 10-4-1 units with tanh, and a student of 10-8-1: 97 parameters, minimum 0."""
    generator = stream(0, "data", 2)
    first = generator.normal(size=(INPUTS, TEACHER)) / np.sqrt(INPUTS)
    second = generator.normal(size=(TEACHER, 1))
    inputs = generator.normal(size=(1000, INPUTS))
    targets = np.tanh(2 * inputs @ first) @ second
    layers: list[dict[str, Any]] = [
        {"layer": "dense", "units": STUDENT},
        {"layer": "tanh"},
        {"layer": "dense", "units": 1},
    ]
    data = split("teacher", inputs, targets, standardise=False)
    return NetworkProblem("teacher-student", data, layers, "squared_error")
