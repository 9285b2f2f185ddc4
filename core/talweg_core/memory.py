"""How many bytes a cohort takes, before it is made."""

import gc
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from numba.core.dispatcher import Dispatcher

from talweg_core.compilation import uncompiled
from talweg_core.data import Precision
from talweg_core.optimizers.base import Hyperparameters, Optimizer
from talweg_core.problems.base import Problem

# Code, from where the whole compiler can be reached.
_BESIDE = (type, ModuleType, FunctionType, Dispatcher)


def cohort_bytes(
    problem: Problem,
    optimizer: Optimizer,
    runs: int,
    *,
    batch_size: int | None = None,
    precision: Precision = "float32",
) -> int:
    """The bytes of all arrays that a cohort of so many runs holds, beside the problem's own; each run with its seed.

    Found out, not guessed: buffers are made for one run and for two, and grow by the same for each run more. Nothing
    is compiled or computed. A rule that works on matrices takes somewhat more while it makes a step.
    """
    size = batch_size or (problem.examples if optimizer.full_batch else problem.default_batch_size)
    one, two = (_held(problem, optimizer, count, size, precision) for count in (1, 2))
    return one + (two - one) * (runs - 1)


def _held(problem: Problem, optimizer: Optimizer, runs: int, batch_size: int, precision: Precision) -> int:
    parameters = np.zeros((runs, problem.layout.size), precision)
    gradient = np.zeros_like(parameters)
    stacked = [optimizer] * runs
    with uncompiled():
        oracle = problem.bind(parameters, gradient, list(range(runs)), batch_size)
        rule = stacked[0].bind(stacked, problem.layout, parameters.dtype)
    return _bytes([parameters, gradient, oracle, rule, Hyperparameters(stacked)], beside=problem)


def _bytes(roots: list[Any], beside: object) -> int:
    """Of every array that can be reached from `roots`, but not through `beside`; each is counted once."""
    seen = {id(beside)}
    # Kept alive while their ids count as seen.
    kept: list[Any] = []
    waiting, total = list(roots), 0
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, _BESIDE):
            continue
        seen.add(id(found))
        kept.append(found)
        if not isinstance(found, np.ndarray):
            waiting += gc.get_referents(found)
        elif found.base is not None:
            waiting.append(found.base)
        else:
            total += found.nbytes
    return total
