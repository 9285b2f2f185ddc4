"""The response of the final cost to an optimizer's settings: the points of a sweep or a search."""

import math
from dataclasses import dataclass

import numpy as np

from talweg.comparison.compare import Comparison, OnProblem, final_runs
from talweg.comparison.results import Floats
from talweg.comparison.tuning import final_judged

# Fewer settings of an optimizer have no surface.
FEWEST = 8


@dataclass(frozen=True, eq=False)
class Response:
    """One optimizer on one problem.

    Attributes:
        keys: the numeric hyperparameters that differ, those of most values first.
        values: (n, keys) of each setting.
        costs: (n,) the final cost there, of several seeds their median; infinite where half of them or more did not
            train. In a search each trial is a setting of one seed.
    """

    problem: str
    optimizer: str
    keys: tuple[str, ...]
    values: Floats
    costs: Floats


def responses(comparison: Comparison) -> list[Response]:
    """By problem and optimizer, of those that were tried with `FEWEST` settings or more."""
    return [
        response
        for problem in comparison.problems
        for name in dict.fromkeys(contender.optimizer for contender in comparison.contenders)
        if (response := _response(problem, name, _settings(comparison, problem, name))) is not None
    ]


def _settings(comparison: Comparison, problem: OnProblem, name: str) -> list[tuple[dict[str, object], float]]:
    """Each setting that was tried, with its cost."""
    if comparison.spec.protocol == "search":
        own = [contender for contender in comparison.contenders if contender.optimizer == name]
        runs = [run for contender in own for run in final_runs(comparison, problem, contender)]
        return [(dict(run.optimizer), final_judged(run)) for run in runs if run.complete or run.failed_to_train]
    optimizers = comparison.spec.optimizers
    return [
        (dict(optimizers[s.contender.position].settings), s.median)
        for s in problem.standings
        if s.contender.optimizer == name and s.scores
    ]


def _response(problem: OnProblem, name: str, settings: list[tuple[dict[str, object], float]]) -> Response | None:
    distinct = {
        key: len({values.get(key) for values, _ in settings})
        for key in (settings[0][0] if settings else {})
        if all(_numeric(values.get(key)) for values, _ in settings)
    }
    keys = sorted((key for key, count in distinct.items() if count > 1), key=lambda key: -distinct[key])
    if len(settings) < FEWEST or not keys:
        return None
    values = np.array([[values[key] for key in keys] for values, _ in settings], dtype=np.float64)
    return Response(problem.name, name, tuple(keys), values, np.array([cost for _, cost in settings]))


def _numeric(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
