"""A study as the comparison takes it: plain data, read from the store."""

import numpy as np

from talweg.comparison.results import Evaluations, Result
from talweg.records.rebuild import problem_of
from talweg.spec import StudySpec
from talweg.store import EvaluationRow, RunRow, Store, StudyRow


def results_of(store: Store, study: StudyRow) -> list[Result]:
    """One Result a run, in the study's order."""
    metric = problem_of(StudySpec.model_validate(study.spec)).metric
    return [_result(store, run, metric) for run in store.runs_of(study.id)]


def protocol(study: StudyRow) -> dict[str, str]:
    """What the runs have in common, for the report's head."""
    spec = study.spec
    facts = {
        "problem": spec["problem"].get("name") or spec["problem"].get("dataset"),
        "steps": spec["steps"],
        "batch size": spec["batch_size"],
        "seeds": len(spec["seeds"]) if isinstance(spec["seeds"], list) else spec["seeds"],
        "precision": spec["precision"],
        "schedule": spec["schedule"]["name"],
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def _result(store: Store, run: RunRow, metric: str | None) -> Result:
    by_split: dict[str, list[EvaluationRow]] = {}
    for row in store.evaluations(run.id):
        by_split.setdefault(row.split, []).append(row)
    return Result(
        run=run.id,
        optimizer=run.spec["optimizer"],
        seed=run.seed,
        state=run.state,
        stop_reason=run.stop_reason,
        costs=store.steps(run.id, 0, run.step).cost,
        evaluations={split: _evaluations(rows) for split, rows in by_split.items()},
        metric=metric,
    )


def _evaluations(rows: list[EvaluationRow]) -> Evaluations:
    metrics = [row.metric for row in rows]
    return Evaluations(
        steps=np.array([row.step for row in rows], dtype=np.int64),
        costs=np.array([row.cost for row in rows], dtype=np.float64),
        # None, where a number was none, becomes NaN.
        metrics=None if all(metric is None for metric in metrics) else np.array(metrics, dtype=np.float64),
    )
