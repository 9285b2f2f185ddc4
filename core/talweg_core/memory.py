"""The memory of a cohort, computed before the cohort is made."""

import gc
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from numba.core.dispatcher import Dispatcher

from talweg_core.compilation import uncompiled
from talweg_core.data import Precision
from talweg_core.optimizers.base import Hyperparameters, Optimizer
from talweg_core.problems.base import Problem

# Code objects, which refer to the whole compiler.
_CODE = (type, ModuleType, FunctionType, Dispatcher)


def cohort_bytes(
    problem: Problem,
    optimizer: Optimizer,
    runs: int,
    *,
    batch_size: int | None = None,
    precision: Precision = "float32",
) -> int:
    """The bytes of all arrays of a cohort of `runs` runs with different seeds, without the problem's own arrays.

    Measured: the buffers of one run and of two are allocated, and each further run adds the difference. Nothing is
    compiled or computed. An optimizer of matrices allocates somewhat more during a step.
    """
    size = batch_size or (problem.examples if optimizer.full_batch else problem.default_batch_size)
    one, two = (_allocated(problem, optimizer, count, size, precision) for count in (1, 2))
    return one + (two - one) * (runs - 1)


def _allocated(problem: Problem, optimizer: Optimizer, runs: int, batch_size: int, precision: Precision) -> int:
    parameters = np.zeros((runs, problem.layout.size), precision)
    gradient = np.zeros_like(parameters)
    stacked = [optimizer] * runs
    with uncompiled():
        oracle = problem.bind(parameters, gradient, list(range(runs)), batch_size)
        rule = stacked[0].bind(stacked, problem.layout, parameters.dtype)
    return _bytes([parameters, gradient, oracle, rule, Hyperparameters(stacked)], excluded=problem)


def _bytes(roots: list[Any], excluded: object) -> int:
    """The bytes of all arrays that are reachable from `roots`, but not through `excluded`; each is counted once."""
    counted = {id(excluded)}
    # Kept alive while their ids are in `counted`.
    kept: list[Any] = []
    waiting, total = list(roots), 0
    while waiting:
        found = waiting.pop()
        if id(found) in counted or isinstance(found, _CODE):
            continue
        counted.add(id(found))
        kept.append(found)
        if not isinstance(found, np.ndarray):
            waiting += gc.get_referents(found)
        elif found.base is not None:
            waiting.append(found.base)
        else:
            total += found.nbytes
    return total
