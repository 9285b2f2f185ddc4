"""Talweg's engine: backpropagation and optimizers over many runs at once, in NumPy and Numba."""

from talweg_core import checks, errors, explain, numerics, optimizers, problems, schedules
from talweg_core.cohort import Cohort, Record
from talweg_core.layout import Layout

__all__ = [
    "Cohort", "Layout", "Record", "checks", "errors", "explain", "numerics", "optimizers", "problems", "schedules",
]  # fmt: skip
