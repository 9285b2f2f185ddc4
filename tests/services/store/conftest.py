"""Work, claims and commits for the tests of the store."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from uuid_utils.compat import uuid7

from talweg.store import Checkpoint, Chunk, Claim, CommitBatch, NewCohort, NewRun, NewStudy, Progress, StepRows, Store

TENSORS = [{"name": "dense1.weight", "shape": [2, 3]}, {"name": "dense1.bias", "shape": [3]}]


@dataclass(frozen=True)
class Work:
    """The content of one submission."""

    study: NewStudy | None
    runs: list[NewRun]
    cohorts: list[NewCohort]

    @property
    def cohort(self) -> str:
        """The first cohort's id."""
        return self.cohorts[0].id


@pytest.fixture
def new_work() -> Callable[..., Work]:
    """Makes work: a number of cohorts of a number of runs, in a study if one is named."""

    def make(runs: int = 2, *, cohorts: int = 1, study: str | None = None, **changed: Any) -> Work:
        parent = None if study is None else NewStudy(str(uuid7()), study, {"name": study, "problem": "quadratic"})
        study_id = None if parent is None else parent.id
        made = [NewCohort(str(uuid7()), study_id) for _ in range(cohorts)]
        rows = [_run(cohort, row, study_id, changed) for cohort in made for row in range(runs)]
        return Work(parent, rows, made)

    return make


@pytest.fixture
def submitted(store: Store, new_work: Callable[..., Work]) -> Callable[..., Work]:
    """Makes work and submits it."""

    def submit(*arguments: Any, **named: Any) -> Work:
        work = new_work(*arguments, **named)
        store.submit(work.study, work.runs, work.cohorts)
        return work

    return submit


@pytest.fixture
def claimed(store: Store, submitted: Callable[..., Work]) -> Callable[..., Claim]:
    """Submits work and claims its first cohort."""

    def claim(*arguments: Any, lease_seconds: float = 60.0, **named: Any) -> Claim:
        taken = store.claim(submitted(*arguments, **named).cohort, "worker-1", lease_seconds)
        assert taken is not None
        return taken

    return claim


@pytest.fixture
def new_batch() -> Callable[..., CommitBatch]:
    """Makes a worker's commit: `count` steps of every run of a claim, from `first` on."""

    def make(claim: Claim, first: int = 0, count: int = 4, **changed: Any) -> CommitBatch:
        run_ids = [run.id for run in claim.runs]
        parts: dict[str, Any] = {
            "lease_seconds": 60.0,
            "progress": {run_id: Progress(first + count, cost=0.5, best_cost=0.25) for run_id in run_ids},
            "steps": [_steps(run_id, first, count) for run_id in run_ids],
            "chunks": [Chunk.of(run_id, "gradient", first, values(first, count)) for run_id in run_ids],
            "checkpoints": [Checkpoint(run_id, first + count, b"state %d" % (first + count)) for run_id in run_ids],
        }
        return CommitBatch(**(parts | changed))

    return make


@pytest.fixture(name="values")
def _values() -> Callable[[int, int], np.ndarray[Any, np.dtype[np.float32]]]:
    """The gradients (count, 9) that `new_batch` commits from step `first` on."""
    return values


def values(first: int, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Numbers that differ by step and by coordinate."""
    return (np.arange(first, first + count)[:, None] + np.arange(9) / 16).astype(np.float32)


def _run(cohort: NewCohort, row: int, study_id: str | None, changed: dict[str, Any]) -> NewRun:
    identity = str(uuid7())
    parts: dict[str, Any] = {
        "id": identity,
        "name": f"run-{identity}",
        "cohort_id": cohort.id,
        "row": row,
        "spec": {"problem": {"name": "quadratic"}, "steps": 10, "seed": row},
        "spec_digest": f"{row:064}",
        "problem": "quadratic",
        "optimizer": "adam",
        "seed": 2**63 - 1 - row,
        "total_steps": 10,
        "precision": "float32",
        "record": "full",
        "tensors": TENSORS,
        "study_id": study_id,
    }
    return NewRun(**(parts | changed))


def _steps(run_id: str, first: int, count: int) -> StepRows:
    steps = np.arange(first, first + count, dtype=np.float64)
    return StepRows(run_id, first, steps / 3, steps * 0 + 0.1, steps + 0.5, steps + 0.25, steps + 0.125)
