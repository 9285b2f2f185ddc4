"""A study's results and comparison, read from the store."""

import threading

import numpy as np

from talweg.comparison.compare import Comparison, compare
from talweg.comparison.results import Evaluations, Result
from talweg.records import evaluations_made, problems_of, seconds
from talweg.spec import Json, StudySpec
from talweg.store import EvaluationRow, RunRow, Store, StudyRow
from talweg_core.problems import Problem

# The comparisons of the studies that were last asked about, oldest first; together at most so many costs (128 MB).
_KEPT: dict[tuple[object, ...], Comparison] = {}
_MOST_COSTS = 16_000_000
_LOCK = threading.Lock()

_ALONE: Json = {"stage": "final", "problem": 0, "optimizer": None, "trial": None}


def comparison_of(store: Store, study: StudyRow, *, timed: bool = False) -> Comparison:
    """The comparison of the study's runs; kept until a run is added or makes a step.

    A report, a ranking and its verdict are of one comparison, and are often requested one after the other.
    """
    counts = tuple(sorted(study.counts.items()))
    key = (study.id, study.open, counts, study.steps_done, study.steps_total, timed)
    found = _KEPT.get(key)
    if found is None:
        found = compare(StudySpec.model_validate(study.spec), results_of(store, study, timed=timed))
        with _LOCK:
            _KEPT[key] = found
            while sum(map(_costs, _KEPT.values())) > _MOST_COSTS:
                del _KEPT[next(iter(_KEPT))]
    return found


def _costs(comparison: Comparison) -> int:
    return sum(result.costs.size for result in comparison.results)


def results_of(store: Store, study: StudyRow, *, timed: bool = False) -> list[Result]:
    """One Result a run, in the study's order."""
    spec = StudySpec.model_validate(study.spec)
    problems, names = problems_of(spec), spec.problem_names()
    timed = timed or spec.clock == "seconds"
    return [_result(store, run, problems, names, timed) for run in store.runs_of(study.id)]


def _result(store: Store, run: RunRow, problems: list[Problem], names: list[str], timed: bool) -> Result:
    by_split: dict[str, list[EvaluationRow]] = {}
    for row in store.evaluations(run.id):
        by_split.setdefault(row.split, []).append(row)
    part = run.part or _ALONE
    return Result(
        run=run.id,
        optimizer=run.spec["optimizer"],
        seed=run.seed,
        # A run that waits at a rung of successive halving has not ended.
        state="running" if run.stop_reason == "finished" and run.total_steps < run.spec["steps"] else run.state,
        stop_reason=run.stop_reason,
        costs=store.steps(run.id, 0, run.step).cost,
        evaluations={split: _evaluations(rows) for split, rows in by_split.items()},
        metric=problems[part["problem"]].metric,
        problem=names[part["problem"]],
        contender=part["optimizer"],
        stage=part["stage"],
        trial=part["trial"],
        steps=run.total_steps,
        batch_size=run.spec["batch_size"],
        evaluations_made=evaluations_made(store, run),
        # Read only where the clock is seconds: it adds one database row for every 64 of the costs.
        seconds=seconds(store, run) if timed else None,
    )


def _evaluations(rows: list[EvaluationRow]) -> Evaluations:
    metrics = [row.metric for row in rows]
    return Evaluations(
        steps=np.array([row.step for row in rows], dtype=np.int64),
        costs=np.array([row.cost for row in rows], dtype=np.float64),
        # NumPy turns None (NULL: the number was NaN) into NaN.
        metrics=None if all(metric is None for metric in metrics) else np.array(metrics, dtype=np.float64),
    )
