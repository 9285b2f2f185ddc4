"""Checks after the faults: no run lost, no step repeated, no bit different."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import func, select

from talweg.records import cohort_of, records
from talweg.spec import RunSpec
from talweg.store import RunRow, Store, tables
from talweg.store.codec import digest_of

# Runs of a cohort in the reference: other cohorts than in the study, which must not change a bit.
_REFERENCE_RUNS = 50


@dataclass
class Verdict:
    """Counts of errors: runs that did not finish, step rows missing or repeated, runs with different bits."""

    runs: int = 0
    steps: int = 0
    lost: list[str] = field(default_factory=list)
    repeated: int = 0
    missing: int = 0
    differing: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether there is no error."""
        return not (self.lost or self.repeated or self.missing or self.differing)


def judge(store: Store, runs: Sequence[RunRow]) -> Verdict:
    """Compare every run with the same run trained in this process without faults.

    Compares costs and the last checkpoint (parameters and optimizer state) of each, and every gradient of one in fifty.
    """
    found = Verdict(len(runs))
    found.steps = sum(run.total_steps for run in runs)
    found.lost = [run.name for run in runs if (run.state, run.step) != ("finished", run.total_steps)]
    with store.engine.connect() as connection:
        rows = connection.execute(select(func.count()).select_from(tables.steps)).scalar_one()
        query = select(tables.steps.c.run_id, tables.steps.c.step).distinct().subquery()
        distinct = connection.execute(select(func.count()).select_from(query)).scalar_one()
    found.repeated, found.missing = rows - distinct, found.steps - distinct
    by_rule: dict[str, list[RunRow]] = {}
    for run in runs:
        by_rule.setdefault(run.optimizer, []).append(run)
    for group in by_rule.values():
        for start in range(0, len(group), _REFERENCE_RUNS):
            found.differing += _differing(store, group[start : start + _REFERENCE_RUNS])
    return found


def _differing(store: Store, runs: Sequence[RunRow]) -> list[str]:
    cohort = cohort_of([RunSpec.model_validate(run.spec) for run in runs])
    steps = runs[0].total_steps
    costs, gradients = np.empty((steps, len(runs))), []
    for step, record in enumerate(cohort.run(steps)):
        costs[step] = record.costs
        gradients.append(record.gradient[0].copy())
    differing = [
        run.name
        for row, run in enumerate(runs)
        if store.steps(run.id).cost.tobytes() != costs[:, row].tobytes()
        or store.replay_basis(run.id, 0, steps).digests.get(steps) != digest_of(cohort.checkpoint(row))
    ]
    if not differing and records(store, runs[0], "gradient", 0, steps).tobytes() != np.stack(gradients).tobytes():
        differing.append(runs[0].name)
    return differing
