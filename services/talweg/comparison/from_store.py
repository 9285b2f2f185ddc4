"""A study's results and comparison, read from the store."""

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.comparison.compare import Comparison, compare
from talweg.comparison.results import Costs, Evaluations, Floats, Result
from talweg.records import problems_of
from talweg.spec import Json, StudySpec
from talweg.store import Chunk, Outcome, Store, StudyRow

# The comparisons of the studies that were last asked about, oldest first; together at most so many runs, and costs of
# steps and evaluations (128 MB).
_KEPT: dict[tuple[object, ...], Comparison] = {}
_MOST_RUNS = 50_000
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
            while _too_many():
                del _KEPT[next(iter(_KEPT))]
    return found


def _too_many() -> bool:
    results = [result for comparison in _KEPT.values() for result in comparison.results]
    return len(results) > _MOST_RUNS or sum(map(_held, results)) > _MOST_COSTS


def _held(result: Result) -> int:
    """How many costs a result keeps in memory."""
    evaluated = sum(evaluations.steps.size for evaluations in result.evaluations.values())
    return evaluated + (0 if "validation" in result.evaluations else result.costs.count)


def results_of(store: Store, study: StudyRow, *, timed: bool = False) -> list[Result]:
    """One Result a run, in the study's order; the steps of a run with validation costs are read when asked for."""
    spec = StudySpec.model_validate(study.spec)
    metrics = [problem.metric for problem in problems_of(spec)]
    names = spec.problem_names()
    outcomes = store.outcomes(study.id)
    # Runs that are not judged by evaluations are judged by the cost of every step.
    by_step = [outcome.id for outcome in outcomes if outcome.step and "validation" not in outcome.evaluations]
    costs = store.all_costs(by_step)
    evaluations, seconds = _evaluations_made(store, outcomes), _seconds(store, outcomes) if timed else {}
    found = []
    for outcome in outcomes:
        part, recorded = outcome.part or _ALONE, outcome.spec
        found.append(
            Result(
                run=outcome.id,
                optimizer=recorded["optimizer"],
                seed=outcome.seed,
                state=_state(outcome),
                stop_reason=outcome.stop_reason,
                costs=_costs(store, outcome, costs),
                evaluations={
                    split: Evaluations(rows.steps, rows.costs, None if np.isnan(rows.metrics).all() else rows.metrics)
                    for split, rows in outcome.evaluations.items()
                },
                metric=metrics[part["problem"]],
                problem=names[part["problem"]],
                contender=part["optimizer"],
                stage=part["stage"],
                trial=part["trial"],
                steps=outcome.total_steps,
                batch_size=recorded["batch_size"],
                evaluations_made=evaluations.get(outcome.id),
                seconds=seconds.get(outcome.id),
            )
        )
    return found


def _state(outcome: Outcome) -> str:
    # A run that waits at a rung of successive halving has not ended.
    waits = outcome.stop_reason == "finished" and outcome.total_steps < outcome.spec["steps"]
    return "running" if waits else outcome.state


def _costs(store: Store, outcome: Outcome, read: Mapping[str, Floats]) -> Costs:
    if outcome.id in read:
        return Costs.of(read[outcome.id][: outcome.step])
    run, count = outcome.id, outcome.step
    first, last = (math.nan if cost is None else cost for cost in (outcome.first_cost, outcome.cost))
    least = math.inf if outcome.best_cost is None else outcome.best_cost
    return Costs(count, first, last, least, lambda: store.steps(run, 0, count).cost)


def _evaluations_made(store: Store, outcomes: Sequence[Outcome]) -> dict[str, NDArray[np.int64]]:
    """By run (n, 3) counts of gradients, costs and Hessian products; without runs whose steps took one gradient each.

    A step that took one gradient has no stored counts.
    """
    found: dict[str, NDArray[np.int64]] = {}
    steps = {outcome.id: outcome.step for outcome in outcomes}
    for chunk in store.chunks_of(list(steps), "evaluations"):
        made = found.setdefault(chunk.run_id, np.tile(np.array([1, 0, 0]), (steps[chunk.run_id], 1)))
        _fill(made, chunk)
    return found


def _seconds(store: Store, outcomes: Sequence[Outcome]) -> dict[str, Floats]:
    """By run (n,) seconds of each step; without runs of which one is not stored."""
    found = {outcome.id: np.full((outcome.step, 1), np.nan) for outcome in outcomes}
    for chunk in store.chunks_of(list(found), "seconds"):
        _fill(found[chunk.run_id], chunk)
    return {run: values[:, 0] for run, values in found.items() if not np.isnan(values).any()}


def _fill(values: NDArray[Any], chunk: Chunk) -> None:
    """Write a chunk's steps into the array (n, k) of its run, up to its end."""
    stop = min(chunk.first_step + chunk.steps, len(values))
    if chunk.first_step < stop:
        values[chunk.first_step : stop] = chunk.array(values.dtype, values.shape[1], chunk.first_step, stop)
