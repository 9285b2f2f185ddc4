"""Compare MLflow with SQL: every due point must be there once, with the same value."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from talweg.records import problem_of
from talweg.spec import parse_run
from talweg.store import RunRow, Store
from talweg.tracking.metrics import EvaluationCounts, Portion, plan, read

Point = tuple[str, int, float]


def behind(store: Store, runs: Sequence[str]) -> int:
    """How many of these runs are not fully mirrored."""
    now = [store.run(run) for run in runs]
    return sum(run.mirrored_state is None or run.mirrored_step < run.step for run in now)


def compare_mlflow(store: Store, runs: Sequence[RunRow], database: Path, budget: int) -> tuple[int, list[str]]:
    """The number of points in MLflow's `database` (SQLite) of these runs, and the names of runs that differ there.

    Due are the points that one undisturbed pass of the mirror sends. Points are compared as (metric, step, value). Runs
    are found by their tag, so a run that was created twice in MLflow differs.
    """
    points, differing = 0, []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for run in runs:
            tagged = "SELECT run_uuid FROM tags WHERE key = 'talweg.run' AND value = ?"
            there = [row[0] for row in connection.execute(tagged, [run.id])]
            # System metrics depend on when they were sampled.
            query = "SELECT key, step, value FROM metrics WHERE run_uuid = ? AND key NOT LIKE 'system/%'"
            found = [tuple(row) for one in there for row in connection.execute(query, [one])]
            points += len(found)
            if there != [run.mlflow_run_id] or sorted(found) != sorted(_due(store, run, budget)):
                differing.append(run.name)
    return points, differing


def _due(store: Store, run: RunRow, budget: int) -> list[Point]:
    problem = problem_of(parse_run(run.spec))
    thinning = plan(run, splits=len(problem.splits), metric=problem.metric is not None, budget=budget)
    series = read(
        store, Portion(run, 0, run.step, ended=run.ended, thinning=thinning), problem.metric, EvaluationCounts(store)
    )
    return [
        (one.key, int(step), float(value)) for one in series for step, value in zip(one.steps, one.values, strict=True)
    ]
